//! A shared library that contains the crate, for the test `no_child`: a foreign program loads it.

/// Doubles a number in another process. Never called: it has the crate linked.
///
/// # Panics
///
/// If there is no runtime, or if there are no processes.
#[allow(unsafe_code, reason = "a name that a foreign program finds")]
#[unsafe(no_mangle)]
pub extern "C" fn plugin_double(n: u64) -> u64 {
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    let doubled = runtime.block_on(async { procession::spawn(|n: u64| n * 2, n).await });
    doubled.expect("there are processes")
}
