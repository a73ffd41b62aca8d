#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    narthex::fuzzing::proof(data);
});
