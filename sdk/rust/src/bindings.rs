//! What crosses the border, generated from `wit/v1`. Knows nothing of how a policy's author sees it.
//!
//! One small world an interface, so that a component carries and exports only what its decision needs; the
//! wrapping step joins them. The modules of the decisions turn these types into the SDK's own.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]

/// What the host offers, and the shared types.
pub mod host {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "
            package tidegate:sdk-host;
            world host {
                import tidegate:policy/types@1.0.0;
                import tidegate:policy/host-log@1.0.0;
                import tidegate:policy/host-counters@1.0.0;
                import tidegate:policy/host-store@1.0.0;
                import tidegate:policy/host-crypto@1.0.0;
            }
        ",
        world: "tidegate:sdk-host/host",
        runtime_path: "::tidegate_sdk::wit_runtime",
        generate_all,
    });
}

/// A world that exports one interface.
macro_rules! export_world {
    ($module:ident, $world:literal, $inline:literal, $export:literal, $bindings:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit/v1",
                inline: $inline,
                world: $world,
                runtime_path: "::tidegate_sdk::wit_runtime",
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $bindings,
                with: { "tidegate:policy/types@1.0.0": crate::bindings::host::tidegate::policy::types },
            });
        }
    };
}

export_world!(
    lifecycle,
    "tidegate:sdk-lifecycle/lifecycle",
    "package tidegate:sdk-lifecycle; world lifecycle { export tidegate:policy/lifecycle@1.0.0; }",
    "export_lifecycle",
    "::tidegate_sdk::bindings::lifecycle"
);
export_world!(
    cluster_feed,
    "tidegate:sdk-cluster-feed/cluster-feed",
    "package tidegate:sdk-cluster-feed; world cluster-feed { export tidegate:policy/cluster-feed@1.0.0; }",
    "export_cluster_feed",
    "::tidegate_sdk::bindings::cluster_feed"
);
export_world!(
    authorization,
    "tidegate:sdk-authorization/authorization",
    "package tidegate:sdk-authorization; world authorization { export tidegate:policy/authorization@1.0.0; }",
    "export_authorization",
    "::tidegate_sdk::bindings::authorization"
);
export_world!(
    allocation,
    "tidegate:sdk-allocation/allocation",
    "package tidegate:sdk-allocation; world allocation { export tidegate:policy/allocation@1.0.0; }",
    "export_allocation",
    "::tidegate_sdk::bindings::allocation"
);
export_world!(
    balancing,
    "tidegate:sdk-balancing/balancing",
    "package tidegate:sdk-balancing; world balancing { export tidegate:policy/balancing@1.0.0; }",
    "export_balancing",
    "::tidegate_sdk::bindings::balancing"
);
export_world!(
    sharing,
    "tidegate:sdk-sharing/sharing",
    "package tidegate:sdk-sharing; world sharing { export tidegate:policy/sharing@1.0.0; }",
    "export_sharing",
    "::tidegate_sdk::bindings::sharing"
);
