//! A closure that borrows from where it stands.

#[procession::main]
async fn main() {
    let step = 2;
    let _ = procession::spawn(|x: u64| x + step, 1);
}
