//! Functions in other processes: one, many, and two that go wrong.
#![allow(clippy::print_stdout, reason = "an example talks to who runs it")]

fn primes_below(limit: u32) -> usize {
    let prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    (2..limit).filter(prime).count()
}

#[procession::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (other, this) = (std::process::id, std::process::id());
    let other = procession::spawn(other, ()).await?;
    println!("process {this} asked, process {other} answered");

    let pool = procession::Pool::new()?;
    let counts = pool.map(primes_below, [10, 1_000, 1_000_000]).await?;
    println!("primes below ten, a thousand, a million: {counts:?}");

    println!("{:?}", pool.run(|a: u32, b: u32| a / b, (1, 0)).await);
    let crashed = pool.run(|| -> () { std::process::abort() }, ()).await;
    println!("{crashed:?}, and the pool goes on:");
    println!(
        "6 / 3 = {}",
        pool.run(|a: u32, b: u32| a / b, (6, 3)).await?
    );
    Ok(())
}
