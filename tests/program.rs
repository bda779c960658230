//! Both sides of every layout: what a client encrypts, a program evaluates and re-randomises, and the client decrypts.

use pycrcnn::Error;
use pycrcnn::client::{Client, EncryptionKey};
use pycrcnn::network::{Activation, AffineMap, Layer, Network};
use pycrcnn::plan::NormalForm;
use pycrcnn::plan::batched::BatchedOptions;
use pycrcnn::plan::packed::PackedOptions;
use pycrcnn::plan::packed::exact::ExactOptions;
use pycrcnn::plan::per_value::{Digits, Fidelity, Recipe};
use pycrcnn::program::Program;
use pycrcnn::protocol::LIMIT;
use pycrcnn::ring::primes;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Parameters, Scheme};

const IMAGE: [f64; 4] = [0.5, -0.25, 0.75, 1.0];

/// Numbers of a few binary digits.
fn numbers(count: usize, phase: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 5 + phase) % 9) as f64 / 8.0 - 0.5).collect()
}

fn network() -> Network {
    let first = AffineMap::linear(&numbers(12, 1), [3, 4], Some(&numbers(3, 2))).unwrap();
    let second = AffineMap::linear(&numbers(6, 3), [2, 3], Some(&numbers(2, 4))).unwrap();
    let layers = vec![
        Layer::affine("first", first),
        Layer::activation("square", Activation::Square),
        Layer::affine("second", second),
    ];
    Network::new(&[4], layers).unwrap()
}

/// A program of each layout.
fn programs() -> Vec<Program> {
    let (network, cancellation) = (network(), Cancellation::new());
    let normal = NormalForm::new(&network, &IMAGE).unwrap();
    let parameters = Parameters::bfv(4096, primes::bfv_default(4096, 128).unwrap().to_vec(), false, 100_000_007);
    let digits = Digits { base: 2, integer: 64, fraction: 32 };
    let recipe = Recipe::new(network, parameters.unwrap(), digits, Fidelity::Fused, &IMAGE).unwrap();
    let packed = PackedOptions { security: 128, precision: 12, images: 1 };
    let exact = ExactOptions { security: 128, precision: 8, images: 1 };
    vec![
        Program::packed(&normal, packed, &cancellation).unwrap(),
        Program::exact(&normal, &IMAGE, exact, &cancellation).unwrap(),
        Program::batched(normal, BatchedOptions::default()).unwrap(),
        Program::per_value(recipe).unwrap(),
    ]
}

/// The deviation that an answer of the scheme is flooded with.
fn deviation(client: &Client) -> Option<f64> {
    (client.context().parameters().scheme() == Scheme::Ckks).then_some(1e-3)
}

#[test]
fn every_layout_answers_what_the_network_does() {
    let (clear, cancellation) = (network().evaluate(&IMAGE).unwrap(), Cancellation::new());
    for program in programs() {
        let read = Program::from_bytes(&program.to_bytes(), LIMIT, &cancellation).unwrap();
        assert_eq!(read.identity(), program.identity());
        let client = Client::from_bytes(&program.client().unwrap().to_bytes(), LIMIT).unwrap();
        assert_eq!(client.program(), program.identity());
        let mut key_set = vec![0; client.key_set_len().unwrap()];
        let (secret, public) = client.generate_keys(&mut key_set, &cancellation).unwrap();
        let keys = read.prepare(&key_set, &cancellation).unwrap();
        for key in [EncryptionKey::Secret(&secret), EncryptionKey::Public(&public)] {
            let images = client.encrypt(key, &IMAGE, &cancellation).unwrap();
            let answers = read.run(&images, Some(&keys), &cancellation).unwrap();
            let hidden = read.rerandomize(&answers, &keys, deviation(&client), &cancellation).unwrap();
            assert_ne!(hidden, answers);
            for message in [answers, hidden] {
                let decrypted = client.decrypt(&secret, &message, 1, &cancellation).unwrap();
                for (value, expected) in decrypted.iter().zip(&clear) {
                    assert!((value - expected).abs() < 0.02, "{decrypted:?} are not {clear:?}");
                }
            }
        }
        for (value, expected) in read.layout().simulate(&IMAGE, 1).unwrap().iter().zip(&clear) {
            assert!((value - expected).abs() < 0.02);
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let cancellation = Cancellation::new();
    let programs = programs();
    let clients: Vec<Client> = programs.iter().map(|program| program.client().unwrap()).collect();
    for (program, client) in programs.iter().zip(&clients) {
        let mut key_set = vec![0; client.key_set_len().unwrap()];
        let (secret, _) = client.generate_keys(&mut key_set, &cancellation).unwrap();
        let keys = program.prepare(&key_set, &cancellation).unwrap();
        let images = client.encrypt(EncryptionKey::Secret(&secret), &IMAGE, &cancellation).unwrap();
        let without = program.run(&images, None, &cancellation);
        match client.layout().keys() {
            (None, rotations) if rotations.is_empty() => assert!(without.is_ok()),
            _ => assert!(matches!(without, Err(Error::MissingKey { .. }))),
        }
        let other = if deviation(client).is_some() { None } else { Some(1.0) };
        let answers = program.run(&images, Some(&keys), &cancellation).unwrap();
        let refused = program.rerandomize(&answers, &keys, other, &cancellation);
        assert!(matches!(refused, Err(Error::InvalidArgument { name: "deviation", .. })));
        let damaged = program.run(&images[..images.len() - 1], Some(&keys), &cancellation);
        assert!(matches!(damaged, Err(Error::Malformed { .. })));
        for stranger in programs.iter().filter(|stranger| stranger.identity() != program.identity()) {
            assert!(stranger.run(&images, Some(&keys), &cancellation).is_err());
            assert!(stranger.prepare(&key_set, &cancellation).is_err());
        }
    }
}
