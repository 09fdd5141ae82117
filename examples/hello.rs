//! Runs functions in other processes: a single call, a call for each of many items, and a call that aborts its process.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

fn primes_below(limit: u32) -> usize {
    let prime = |n: &u32| (2..*n).all(|d| n % d != 0);
    (2..limit).filter(prime).count()
}

#[procession::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let this = std::process::id();
    let other = procession::spawn(std::process::id, ()).await?;
    println!("process {this} asked, process {other} answered");

    let pool = procession::Pool::new()?;
    let counts = pool.map(primes_below, [10, 1_000, 20_000]).await?;
    println!("primes below ten, a thousand, twenty thousand: {counts:?}");

    let Err(crashed) = pool.run(std::process::abort, ()).await;
    println!("{crashed}");
    let six = pool.run(|a: u32, b: u32| a + b, (2, 4)).await?;
    println!("the pool has replaced its worker: 2 + 4 = {six}");
    Ok(())
}
