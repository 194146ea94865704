//! What wasmtime generates from `wit/v1`, for all worlds at once: a component need not export everything, each
//! interface is looked up by itself. Knows nothing of the host's own words; `convert` does.
#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../wit/v1",
    inline: "
        package tidegate:host;

        world every {
            include tidegate:policy/authorize@1.0.0;
            include tidegate:policy/allocate@1.0.0;
            include tidegate:policy/balance@1.0.0;
            include tidegate:policy/share@1.0.0;
        }
    ",
    world: "tidegate:host/every",
    // What goes into a guest is lent, not copied first.
    ownership: Borrowing { duplicate_if_necessary: true },
});
