//! The batched layout: affine maps and segments on one core, in multiply-adds a second.
//!
//! `cargo bench --bench affine`; a filter such as `-- dense` picks cases. Weights and residues are random; each
//! case is checked against 128-bit integers before it is timed.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pycrcnn::evaluator::batched::{ScalarAffine, ScalarMatrix, Segment, Step};
use pycrcnn::ring::{backend::Backend, primes};
use pycrcnn::runtime::{self, Cancellation};
use pycrcnn::scheme::{Ciphertext, Context, Form, Parameters};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A sparse matrix as its rows.
struct Rows {
    width: usize,
    rows: Vec<Vec<(u32, i64)>>,
}

impl Rows {
    fn dense(height: usize, width: usize, rng: &mut ChaCha8Rng) -> Self {
        let rows = (0..height).map(|_| (0..width as u32).map(|i| (i, weight(rng))).collect()).collect();
        Self { width, rows }
    }

    /// A convolution of a square image of one channel; outputs ordered by filter, then position.
    fn convolution(
        side: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        filters: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let steps = (side + 2 * padding - kernel) / stride + 1;
        let mut rows = Vec::new();
        for _ in 0..filters {
            let weights: Vec<i64> = (0..kernel * kernel).map(|_| weight(rng)).collect();
            for (y, x) in (0..steps).flat_map(|y| (0..steps).map(move |x| (y, x))) {
                let tap = |(i, &weight): (usize, &i64)| {
                    let row = (y * stride + i / kernel).checked_sub(padding).filter(|&row| row < side)?;
                    let column = (x * stride + i % kernel).checked_sub(padding).filter(|&column| column < side)?;
                    Some(((row * side + column) as u32, weight))
                };
                rows.push(weights.iter().enumerate().filter_map(tap).collect());
            }
        }
        Self { width: side * side, rows }
    }

    fn matrix(&self) -> ScalarMatrix {
        let mut offsets = vec![0];
        for row in &self.rows {
            offsets.push(offsets[offsets.len() - 1] + row.len());
        }
        let (columns, weights): (Vec<u32>, Vec<i64>) = self.rows.iter().flatten().copied().unzip();
        ScalarMatrix::new(self.width, &offsets, &columns, &weights).unwrap()
    }

    fn entries(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    fn apply(&self, values: &[Vec<i128>], q: i128) -> Vec<Vec<i128>> {
        let sum = |row: &Vec<(u32, i64)>, poly: usize| {
            row.iter().fold(0, |sum, &(i, w)| (sum + i128::from(w) * values[i as usize][poly]) % q)
        };
        self.rows.iter().map(|row| (0..values[0].len()).map(|poly| sum(row, poly)).collect()).collect()
    }
}

/// A weight of ten bits, sign included.
fn weight(rng: &mut ChaCha8Rng) -> i64 {
    rng.next_u64() as i64 % 512
}

/// Affine maps, with a square between each two where asked for.
struct Case {
    context: Arc<Context>,
    inputs: Vec<Ciphertext>,
    maps: Vec<Rows>,
    squares: bool,
    segment: Segment,
}

impl Case {
    fn new(degree: usize, bits: &[u32], maps: Vec<Rows>, squares: bool, rng: &mut ChaCha8Rng) -> Self {
        let mut moduli = Vec::new();
        for &bits in bits {
            let candidates = primes::largest(2 * degree as u64, bits, moduli.len() + 1).unwrap();
            moduli.push(candidates.into_iter().find(|q| !moduli.contains(q)).unwrap());
        }
        let context = Context::new(Parameters::ckks(degree, moduli, false).unwrap()).unwrap();
        let mut random = || {
            let mut input = Ciphertext::zero(&context, 2, bits.len(), Form::Ntt, 1.0);
            for (i, j) in (0..2).flat_map(|i| (0..bits.len()).map(move |j| (i, j))) {
                let q = context.modulus(j).value();
                input.residues_mut(i, j).iter_mut().for_each(|x| *x = rng.next_u64() % q);
            }
            input
        };
        let inputs = (0..maps[0].width).map(|_| random()).collect();
        let mut steps = Vec::new();
        for map in &maps {
            if squares && !steps.is_empty() {
                steps.push(Step::Square);
            }
            steps.push(Step::Affine(ScalarAffine::linear(map.matrix())));
        }
        let segment = Segment::new(maps[0].width, steps).unwrap();
        let case = Self { context, inputs, maps, squares, segment };
        case.check();
        case
    }

    fn run(&self, backend: Backend, threads: usize) -> Vec<Ciphertext> {
        let inputs: Vec<&Ciphertext> = self.inputs.iter().collect();
        let run = || self.segment.run_on(backend, &self.context, &inputs, 1.0, &Cancellation::new());
        runtime::install(threads, run).unwrap().unwrap()
    }

    fn check(&self) {
        let outputs = self.run(Backend::current().unwrap(), 0);
        for j in 0..self.inputs[0].primes() {
            let q = i128::from(self.context.modulus(j).value());
            for x in [0, 1, self.context.degree() - 1] {
                let read = |c: &Ciphertext| (0..c.size()).map(|i| i128::from(c.residues(i, j)[x])).collect();
                let mut values: Vec<Vec<i128>> = self.inputs.iter().map(read).collect();
                for (i, map) in self.maps.iter().enumerate() {
                    if i > 0 && self.squares {
                        values.iter_mut().for_each(|value| *value = square(value, q));
                    }
                    values = map.apply(&values, q);
                }
                values.iter_mut().flatten().for_each(|x| *x = x.rem_euclid(q));
                assert_eq!(outputs.iter().map(read).collect::<Vec<_>>(), values);
            }
        }
    }

    /// Multiply-adds on residues.
    fn work(&self) -> u64 {
        let mut size = 2;
        let mut sum = 0;
        for map in &self.maps {
            sum += map.entries() * size;
            size = if self.squares { 2 * size - 1 } else { size };
        }
        (sum * self.inputs[0].primes() * self.context.degree()) as u64
    }
}

fn square(value: &[i128], q: i128) -> Vec<i128> {
    let mut result = vec![0; 2 * value.len() - 1];
    for (i, a) in value.iter().enumerate() {
        for (j, b) in value.iter().enumerate() {
            result[i + j] = (result[i + j] + a * b) % q;
        }
    }
    result
}

fn bench(criterion: &mut Criterion, name: &str, case: &Case, backends: &[Backend]) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(case.work()));
    for &backend in backends {
        group.bench_function(BenchmarkId::from_parameter(backend.name()), |bencher| {
            bencher.iter(|| black_box(case.run(backend, 1)))
        });
    }
    group.finish();
}

/// One map alone.
fn maps(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let all = Backend::available();
    for bits in [50, 60] {
        let dense = vec![Rows::dense(100, 845, &mut rng)];
        let case = Case::new(4096, &[bits, bits], dense, false, &mut rng);
        bench(criterion, &format!("dense 100x845, {bits}-bit primes"), &case, &all);
    }
    // One output reads a convolution's result, so that the time is the convolution's and not that of
    // writing its outputs to memory.
    for filters in [4, 16] {
        let convolution = Rows::convolution(20, 3, 1, 0, filters, &mut rng);
        let one = Rows { width: convolution.rows.len(), rows: vec![vec![(0, 1)]] };
        let case = Case::new(4096, &[50, 50], vec![convolution, one], false, &mut rng);
        bench(criterion, &format!("convolution 3x3, {filters} filters"), &case, &all);
    }
    let convolution = vec![Rows::convolution(20, 3, 1, 0, 4, &mut rng)];
    let case = Case::new(4096, &[50, 50], convolution, false, &mut rng);
    bench(criterion, "convolution 3x3, 4 filters, to memory", &case, &all);
}

/// The worked networks, up to the ciphertexts that are relinearised.
fn networks(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let fastest = [Backend::current().unwrap()];
    let convolution = Rows::convolution(28, 3, 3, 0, 16, &mut rng);
    let linear = Rows::dense(10, convolution.rows.len(), &mut rng);
    let case = Case::new(4096, &[50, 50], vec![convolution, linear], true, &mut rng);
    bench(criterion, "5-layer, 2048 images, N 4096, primes of 50 50 bits", &case, &fastest);
    let convolution = Rows::convolution(28, 5, 2, 1, 5, &mut rng);
    let linear = Rows::dense(100, convolution.rows.len(), &mut rng);
    let case = Case::new(8192, &[50, 46, 42], vec![convolution, linear], true, &mut rng);
    bench(criterion, "CryptoNets, 4096 images, N 8192, primes of 50 46 42 bits", &case, &fastest);
}

criterion_group!(benches, maps, networks);
criterion_main!(benches);
