//! The attributes of the `procession` crate, `#[procession::main]` and `#[procession::test]`.
//!
//! Use them through `procession`, which re-exports both; this crate has no other purpose. It turns
//! an `async fn` into a plain one that first lets a child process find its way and then runs the
//! body on a Tokio runtime. The expansion names nothing but `procession`, so a program needs no
//! Tokio feature of its own for it.
//!
//! What must stay true: a mistake in the attribute is one error, at the mistake. The function is
//! expanded all the same, so that the compiler and an editor still see it.

use proc_macro::TokenStream;

use crate::attribute::EntryAttribute;

mod arguments;
mod attribute;
mod entry;

/// Runs an `async fn main` on a Tokio runtime, after letting child processes do their work.
///
/// The expansion calls `procession::init()` as its first statement. In a child process that call
/// does the child's work and never returns, so a child builds no runtime and never runs the body of
/// `main`. In the parent it returns, the runtime is built with all drivers enabled, and the body
/// runs on it to its end. The return type is `main`'s own: `Result` and `?` work as usual.
///
/// ```ignore
/// // `procession` itself, needed to run this, is built from this crate.
/// fn add(a: u64, b: u64) -> u64 {
///     a + b
/// }
///
/// #[procession::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let sum = procession::spawn(add, (1, 2)).await?;
///     println!("{sum}");
///     Ok(())
/// }
/// ```
///
/// It is short for:
///
/// ```ignore
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     tokio::runtime::Builder::new_multi_thread()
///         .enable_all()
///         .build()
///         .expect("the Tokio runtime could not be built")
///         .block_on(async {
///             let sum = procession::spawn(add, (1, 2)).await?;
///             println!("{sum}");
///             Ok(())
///         })
/// }
/// ```
///
/// # Arguments
///
/// They are those of `tokio::main`, separated by commas, each at most once:
///
/// - `flavor = "multi_thread"`: the runtime's scheduler. `"multi_thread"` is the default;
///   `"current_thread"` runs everything on the main thread; `"local"` does so too and lets
///   `tokio::task::spawn_local` be called.
/// - `worker_threads = 4`: how many threads of the multi-thread runtime run tasks; by default as
///   many as there are CPUs. These are threads of this process, not the worker processes of a
///   pool. Not for the other flavors.
/// - `start_paused = true`: starts with Tokio's clock paused. Only for the `"current_thread"` and
///   `"local"` flavors, and only in a build that enables Tokio's feature `test-util`. A paused clock
///   jumps ahead whenever the runtime is idle, and so do the timeouts of work in other processes,
///   while that work takes real time.
/// - `name = "frontend"`: the runtime's name.
/// - `crate = "path"`: where `procession` is, if not at `::procession`, for a crate that renames or
///   re-exports it.
///
/// `unhandled_panic` is an error, because Tokio has it only in builds with `--cfg tokio_unstable`.
///
/// ```ignore
/// #[procession::main(flavor = "current_thread")]
/// async fn main() {
///     let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
///     println!("{host:?}");
/// }
/// ```
///
/// # Panics
///
/// The function panics if the runtime cannot be built: no descriptors or no threads are left.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(EntryAttribute::Main, arguments.into(), item.into()).into()
}

/// Makes a test of an `async fn`, run on a Tokio runtime of its own, that may start processes.
///
/// A test binary has no `main` in which `procession::init()` could be called. The expansion says so
/// to `procession` before anything else, and the children that the test starts find their way by
/// themselves: they never run the test harness. This holds under `cargo test`, where tests are
/// threads of one process, and under `cargo nextest`, where each is a process.
///
/// Other attributes are kept, among them `#[ignore]` and `#[should_panic]`, and so is the return
/// type. A second `#[test]` on the same function is an error.
///
/// ```ignore
/// // `procession` itself, needed to run this, is built from this crate.
/// #[procession::test]
/// async fn a_sum_comes_back() {
///     let sum = procession::spawn(|a: u64, b: u64| a + b, (1, 2)).await;
///     assert_eq!(sum.unwrap(), 3);
/// }
/// ```
///
/// # Arguments
///
/// They are those of `#[procession::main]`. Only the default `flavor` differs: it is
/// `"current_thread"`, so a test that wants worker threads asks for them:
///
/// ```ignore
/// #[procession::test(flavor = "multi_thread", worker_threads = 2)]
/// async fn two_threads_share_a_pool() {
///     let pool = procession::Pool::with_workers(2).unwrap();
///     let other = tokio::spawn({
///         let pool = pool.clone();
///         async move { pool.run(|n: u64| n * n, 3).await }
///     });
///     assert_eq!(pool.run(|n: u64| n * n, 2).await.unwrap(), 4);
///     assert_eq!(other.await.unwrap().unwrap(), 9);
/// }
/// ```
///
/// `start_paused = true` needs Tokio's feature `test-util`, as it does in `tokio::test`.
///
/// # Panics
///
/// The test fails if the runtime cannot be built: no descriptors or no threads are left.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(EntryAttribute::Test, arguments.into(), item.into()).into()
}
