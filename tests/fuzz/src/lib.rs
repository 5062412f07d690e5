//! What the fuzz targets share with the tests of the package: its properties, and its fakes.

#[path = "../properties/mod.rs"]
pub mod properties;

#[expect(dead_code, reason = "the tests of the package use all of it")]
mod support;

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
