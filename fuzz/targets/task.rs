#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sharedroot_task::fuzz::task(input));
