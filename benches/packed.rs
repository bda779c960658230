//! What packed programs are made of, on one core: `cargo bench --bench packed`.
//!
//! Primes are as the planner chooses them. `rotation` is a rotation on its own, `hoisted/k` one of k rotations of a
//! ciphertext that share its digits, all of them divided at once; `linear` is the second map of CryptoNets (845 -> 100)
//! as planned: 32 diagonals, 10 babies, 2 giants.

use std::collections::BTreeMap;

use criterion::{Criterion, criterion_group, criterion_main};
use pycrcnn::encoding::CkksEncoder;
use pycrcnn::encryption::{KeyGenerator, SymmetricEncryptor, keygen};
use pycrcnn::evaluator::Evaluator;
use pycrcnn::evaluator::packed::{Group, LinearTransform, PackedKeys};
use pycrcnn::ring::primes;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Ciphertext, Context, Parameters};

const SCALE: f64 = (1u64 << 26) as f64;

/// A client's ciphertext, the keys it sent, and the server.
struct Bench {
    name: String,
    encoder: CkksEncoder,
    evaluator: Evaluator,
    keys: PackedKeys,
    x: Ciphertext,
}

impl Bench {
    fn new(degree: usize, data_primes: usize) -> Self {
        let bits: Vec<u32> = [31].into_iter().chain(vec![26; data_primes - 1]).chain([36]).collect();
        let moduli = primes::create(degree, &bits).unwrap();
        let context = Context::new(Parameters::ckks(degree, moduli, true).unwrap()).unwrap();
        let secret = keygen::secret_key(&context).unwrap();
        let cancellation = Cancellation::new();
        let rotations: BTreeMap<usize, usize> = (1..32).map(|step| (step, data_primes)).collect();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let sent = generator.key_set(Some(data_primes), &rotations, &cancellation).unwrap();
        let keys = PackedKeys::new(&context, sent.expand(&context, &cancellation).unwrap()).unwrap();
        let encoder = CkksEncoder::new(context.clone()).unwrap();
        let plaintext = encoder.encode(&values(encoder.slots(), 1), SCALE, data_primes).unwrap();
        let x = SymmetricEncryptor::new(context.clone(), &secret).unwrap().encrypt(&plaintext, None).unwrap();
        let name = format!("N={degree} primes={data_primes}+1");
        Self { name, encoder, evaluator: Evaluator::new(context), keys, x }
    }

    fn transform(&self, groups: &[Group]) -> LinearTransform {
        LinearTransform::new(&self.encoder, self.x.primes(), self.x.scale(), SCALE, groups, None).unwrap()
    }
}

fn values(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 7919 + seed * 104729 + 13) % 2003) as f64 / 1001.5 - 1.0).collect()
}

fn rotations(criterion: &mut Criterion) {
    let cancellation = Cancellation::new();
    for (degree, primes) in [(8192, 3), (16384, 7)] {
        let bench = Bench::new(degree, primes);
        let mut group = criterion.benchmark_group(&bench.name);
        let sum = |steps: &[usize]| bench.evaluator.sum_rotations(&bench.x, steps, &bench.keys, &cancellation).unwrap();
        group.bench_function("rotation", |b| b.iter(|| sum(&[1])));
        for count in [8, 31] {
            let steps: Vec<usize> = (1..=count).collect();
            group.throughput(criterion::Throughput::Elements(count as u64));
            group.bench_function(format!("hoisted/{count}"), |b| b.iter(|| sum(&steps)));
        }
    }
}

fn steps(criterion: &mut Criterion) {
    let cancellation = Cancellation::new();
    for primes in [2, 4, 6] {
        let bench = Bench::new(8192, primes);
        let Bench { evaluator, keys, x, .. } = &bench;
        let diagonals = |count: usize| (0..count).map(|baby| (baby, values(4096, baby))).collect();
        let groups: Vec<Group> =
            [(0, 11), (11, 11), (22, 10)].map(|(giant, count)| Group { giant, diagonals: diagonals(count) }).into();
        let transform = bench.transform(&groups);
        let mut group = criterion.benchmark_group(&bench.name);
        group.bench_function("linear", |b| {
            b.iter(|| evaluator.linear_transform(x, &transform, keys, &cancellation).unwrap());
        });
        group.bench_function("sum of 3", |b| {
            b.iter(|| evaluator.sum_rotations(x, &[0, 1, 2, 3], keys, &cancellation).unwrap());
        });
        group.bench_function("square", |b| b.iter(|| evaluator.square_rescaled(x, keys, &cancellation).unwrap()));
    }
}

/// Rotations and steps, on one core whatever the machine has.
fn all(criterion: &mut Criterion) {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    rotations(criterion);
    steps(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(40);
    targets = all
}
criterion_main!(benches);
