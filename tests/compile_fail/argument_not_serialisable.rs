//! An argument that cannot be sent.

struct Job {
    id: u64,
}

fn run(job: Job) -> u64 {
    job.id
}

#[procession::main]
async fn main() {
    let _ = procession::spawn(run, Job { id: 1 });
}
