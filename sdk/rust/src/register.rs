//! `register!`: makes a type the policy that its component exports. Knows nothing of what the policy decides.

/// Makes a type the policy of this crate: `register!(allocate: Shortest)` for a unit struct, or with its first
/// value, `register!(allocate: Pack = Pack::default())`.
///
/// The decision is `authorize`, `allocate`, `balance` or `share`; the crate is a `cdylib` and registers one policy. On
/// other targets than wasm32 it only checks that the type fits, so that the policy's tests run natively.
#[macro_export]
macro_rules! register {
    (authorize: $policy:ident $(= $first:expr)?) => {
        $crate::register!(@seat authorize Authorize $policy ($($first)?));
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type TidegateRegistered = $crate::seat::Registered<$policy>;
            $crate::bindings::lifecycle::export_lifecycle!(
                TidegateRegistered with_types_in $crate::bindings::lifecycle);
            $crate::bindings::authorization::export_authorization!(
                TidegateRegistered with_types_in $crate::bindings::authorization);
        };
    };
    (allocate: $policy:ident $(= $first:expr)?) => {
        $crate::register!(@seat allocate Allocate $policy ($($first)?));
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::cluster::Feed as TidegateFeed;
            type TidegateRegistered = $crate::seat::Registered<$policy>;
            $crate::bindings::lifecycle::export_lifecycle!(
                TidegateRegistered with_types_in $crate::bindings::lifecycle);
            $crate::bindings::cluster_feed::export_cluster_feed!(
                TidegateFeed with_types_in $crate::bindings::cluster_feed);
            $crate::bindings::allocation::export_allocation!(
                TidegateRegistered with_types_in $crate::bindings::allocation);
        };
    };
    (balance: $policy:ident $(= $first:expr)?) => {
        $crate::register!(@seat balance Balance $policy ($($first)?));
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::cluster::Feed as TidegateFeed;
            type TidegateRegistered = $crate::seat::Registered<$policy>;
            $crate::bindings::lifecycle::export_lifecycle!(
                TidegateRegistered with_types_in $crate::bindings::lifecycle);
            $crate::bindings::cluster_feed::export_cluster_feed!(
                TidegateFeed with_types_in $crate::bindings::cluster_feed);
            $crate::bindings::balancing::export_balancing!(
                TidegateRegistered with_types_in $crate::bindings::balancing);
        };
    };
    (share: $policy:ident $(= $first:expr)?) => {
        $crate::register!(@seat share Share $policy ($($first)?));
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type TidegateRegistered = $crate::seat::Registered<$policy>;
            $crate::bindings::lifecycle::export_lifecycle!(
                TidegateRegistered with_types_in $crate::bindings::lifecycle);
            $crate::bindings::sharing::export_sharing!(
                TidegateRegistered with_types_in $crate::bindings::sharing);
        };
    };
    (@seat $module:ident $trait:ident $policy:ident ()) => {
        $crate::register!(@seat $module $trait $policy ($policy));
    };
    (@seat $module:ident $trait:ident $policy:ident ($first:expr)) => {
        // Natively nothing exports the policy: this keeps it from looking unused.
        const _: fn() = $crate::seat::visit::<$policy>;

        impl $crate::seat::Seated for $policy {
            const PACKAGE: $crate::Package =
                $crate::Package { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

            fn seat<R>(call: impl FnOnce(&mut Self) -> R) -> R {
                ::std::thread_local! {
                    static POLICY: ::std::cell::RefCell<$policy> = ::std::cell::RefCell::new($first);
                }
                POLICY.with_borrow_mut(call)
            }

            fn describe(&self, package: $crate::Package) -> $crate::Description {
                $crate::$module::$trait::describe(self, package)
            }

            fn configure(
                &mut self,
                setup: &$crate::Setup,
            ) -> ::std::result::Result<(), ::std::vec::Vec<$crate::Problem>> {
                $crate::$module::$trait::configure(self, setup)
            }
        }
    };
}
