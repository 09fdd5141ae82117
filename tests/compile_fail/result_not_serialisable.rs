//! A result that cannot be sent back.

struct Model {
    weights: Vec<f64>,
}

fn train(n: u64) -> Model {
    Model {
        weights: vec![0.0; n as usize],
    }
}

#[procession::main]
async fn main() {
    let model = procession::spawn(train, 1).await.unwrap();
    let _ = model.weights;
}
