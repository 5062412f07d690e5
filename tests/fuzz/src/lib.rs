//! What the fuzz targets share with the tests of the package: its properties, and its fakes.

#[path = "../properties/mod.rs"]
pub mod properties;

/// The part of `tests/support` that the properties need.
#[expect(dead_code, reason = "the tests of the package use all of it")]
mod support {
    #[path = "../../../support/fake_alerts.rs"]
    pub mod fake_alerts;
    #[path = "../../../support/fake_platform.rs"]
    pub mod fake_platform;
    #[path = "../../../support/fake_queue.rs"]
    pub mod fake_queue;
    #[path = "../../../support/fake_telemetry.rs"]
    pub mod fake_telemetry;
    #[path = "../../../support/lethal.rs"]
    pub mod lethal;
    #[path = "../../../support/policy.rs"]
    pub mod policy;
    #[path = "../../../support/world.rs"]
    pub mod world;
}

/// One fuzz target: what must hold of a family, and changes that keep JSON whole half of the time.
#[macro_export]
macro_rules! family {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::properties::$name::holds(input));

        libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, size_max: usize, seed: u32| {
            if seed % 2 == 0
                && let Some(changed) = $crate::properties::change::json(&input[..size], seed)
                && changed.len() <= size_max
            {
                input[..changed.len()].copy_from_slice(&changed);
                return changed.len();
            }
            libfuzzer_sys::fuzzer_mutate(input, size, size_max)
        });
    };
}
