//! A closure that does not name its parameters' types.

#[procession::main]
async fn main() {
    let _ = procession::spawn(|x| x + 1, 1_u64);
}
