//! Compiles the C library.
#![allow(clippy::print_stdout, reason = "what a build script says to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=src/book.c");
    cc::Build::new().file("src/book.c").compile("book");
}
