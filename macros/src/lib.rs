//! The attributes of the `procession` crate, `#[procession::main]` and `#[procession::test]`.
//!
//! Use them through `procession`, which re-exports both. Each turns an `async fn` into a plain
//! function. Its first statement serves a child process and never returns there; in the parent the
//! function then runs the body on a Tokio runtime. The expansion names no crate but `procession`, so
//! a program needs no Tokio feature for it.
//!
//! Must stay true: a mistake in the attribute is one error, at the mistake. The function is expanded
//! all the same, so that the compiler and an editor still see it.

use proc_macro::TokenStream;

use crate::attribute::EntryAttribute;

mod arguments;
mod attribute;
mod entry;

/// Turns an `async fn main` into a `main` that calls `procession::init()` and runs the body on a Tokio runtime.
///
/// The call of `procession::init()` is the first statement. In a child process it does the child's
/// work and never returns, so a child builds no runtime and never runs the body of `main`. In the
/// parent it returns; then the runtime is built, with all drivers enabled, and runs the body. The
/// return type of `main` does not change: `Result` and `?` work as usual.
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
/// The attribute is short for:
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
/// The arguments are those of `tokio::main`, separated by commas, each at most once:
///
/// - `flavor = "multi_thread"`: the runtime's scheduler. `"multi_thread"` is the default;
///   `"current_thread"` runs everything on the main thread; `"local"` does so too and allows
///   `tokio::task::spawn_local`.
/// - `worker_threads = 4`: the number of threads on which the multi-thread runtime runs tasks; by
///   default the number of CPUs. These are threads of this process, not the worker processes of a
///   pool. Other flavors do not accept it.
/// - `start_paused = true`: pauses Tokio's clock at the start. Only the `"current_thread"` and
///   `"local"` flavors accept it, and only in a build that enables Tokio's feature `test-util`. A
///   paused clock jumps ahead whenever the runtime is idle. Work in other processes takes real time
///   meanwhile, so its timeouts may expire early.
/// - `name = "frontend"`: the runtime's name.
/// - `crate = "path"`: the path of `procession`, for a crate that renames or re-exports it; by
///   default `::procession`.
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
/// The function panics if the runtime cannot be built, because no descriptors or no threads are left.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(EntryAttribute::Main, arguments.into(), item.into()).into()
}

/// Turns an `async fn` into a test with a Tokio runtime of its own, which may start processes.
///
/// A test binary has no `main` that could call `procession::init()`. Instead, the children of a test
/// begin their work before `main`, in a constructor, and never run the test harness. The first
/// statement of the expansion enables this. It works under `cargo test`, where tests are threads of
/// one process, and under `cargo nextest`, where each test is a process.
///
/// The return type and other attributes, such as `#[ignore]` and `#[should_panic]`, are kept. A
/// second `#[test]` on the same function is an error.
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
/// The arguments are those of `#[procession::main]`. Only the default `flavor` differs: it is
/// `"current_thread"`. A test with worker threads asks for them:
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
/// The test fails if the runtime cannot be built, because no descriptors or no threads are left.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(EntryAttribute::Test, arguments.into(), item.into()).into()
}
