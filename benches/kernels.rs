//! `cargo bench --bench kernels`: the ring layer's kernels on every backend that this machine has.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use num_bigint::BigUint;
use pycrcnn::ring::{Automorphism, Backend, BaseConverter, Kernels, Modulus, NttTable, Residues, primes};

const DEGREES: [usize; 4] = [4096, 8192, 16384, 32768];
const DEGREE: usize = 8192;

fn modulus(degree: usize, bits: u32) -> Modulus {
    Modulus::new(primes::largest(2 * degree as u64, bits, 1).expect("there is such a prime")[0]).expect("a prime")
}

fn polynomial(degree: usize, q: Modulus, seed: u64) -> Vec<u64> {
    (0..degree as u64).map(|i| q.reduce((i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

/// Transforms at three sizes of primes: fully lazy (below 2^46), lazy (below 2^50), wide.
fn transforms(c: &mut Criterion) {
    for bits in [45, 50, 60] {
        let mut group = c.benchmark_group(format!("ntt/{bits}-bit"));
        for degree in DEGREES {
            let q = modulus(degree, bits);
            let oracle = NttTable::with_backend(degree, q, Backend::Portable).expect("portable tables");
            let a = polynomial(degree, q, 1);
            let mut expected = a.clone();
            oracle.forward(&mut expected);
            group.throughput(Throughput::Elements(degree as u64));
            for backend in Backend::available() {
                let table = NttTable::with_backend(degree, q, backend).expect("an available backend");
                let mut x = Residues::from_slice(&a);
                table.forward(&mut x);
                assert_eq!(x[..], expected[..], "a benchmark of wrong results is worth nothing");
                group.bench_function(BenchmarkId::new(format!("forward/{}", backend.name()), degree), |b| {
                    b.iter(|| table.forward(black_box(&mut x)));
                });
                group.bench_function(BenchmarkId::new(format!("inverse/{}", backend.name()), degree), |b| {
                    b.iter(|| table.inverse(black_box(&mut x)));
                });
            }
        }
    }
}

fn pointwise(c: &mut Criterion) {
    let q = modulus(DEGREE, 50);
    let [a, b, d] = [1, 2, 3].map(|seed| Residues::from_slice(&polynomial(DEGREE, q, seed)));
    let [mut x, mut y, mut z] = [(); 3].map(|()| Residues::zeros(DEGREE));
    let scalar = q.value() / 3;
    for backend in Backend::available() {
        let kernels = Kernels::with_backend(q, backend).expect("an available backend");
        let mut group = c.benchmark_group(format!("pointwise/{}", backend.name()));
        group.throughput(Throughput::Elements(DEGREE as u64));
        group.bench_function("add", |bench| bench.iter(|| kernels.add(&mut x, black_box(&a), &b)));
        group.bench_function("mul", |bench| bench.iter(|| kernels.mul(&mut x, black_box(&a), &b)));
        group.bench_function("mul_add", |bench| bench.iter(|| kernels.mul_add(&mut x, black_box(&a), &b)));
        group.bench_function("mul_scalar", |bench| bench.iter(|| kernels.mul_scalar(&mut x, black_box(&a), scalar)));
        group.bench_function("reduce", |bench| bench.iter(|| kernels.reduce(&mut x, black_box(&a))));
        group.bench_function("square", |bench| {
            bench.iter(|| kernels.square([&mut x, &mut y, &mut z], [black_box(&a), &b]))
        });
        group.bench_function("sub_mul_scalar_assign", |bench| {
            bench.iter(|| kernels.sub_mul_scalar_assign(&mut x, black_box(&a), scalar));
        });
        for terms in [3, 7] {
            let digits = vec![&a[..]; terms];
            let keys = vec![[&b[..], &d[..]]; terms];
            group.bench_function(BenchmarkId::new("inner_products", terms), |bench| {
                bench.iter(|| kernels.inner_products([&mut x, &mut y], black_box(&digits), &keys));
            });
        }
    }
}

/// The two conversions of a BFV product: to four auxiliary primes, and back with the division by q.
fn conversions(c: &mut Criterion) {
    const DEGREE: usize = 4096;
    let found = primes::largest(2 * DEGREE as u64, 50, 7).expect("there are such primes");
    let moduli: Vec<_> = found.iter().map(|&q| Modulus::new(q).expect("a prime")).collect();
    let product = found[..3].iter().fold(BigUint::from(1u32), |product, &q| product * q);
    let input: Vec<u64> = moduli.iter().flat_map(|&q| polynomial(DEGREE, q, q.value())).collect();
    let (t, one) = (BigUint::from(65537u32), BigUint::from(1u32));
    for backend in Backend::available() {
        let mut group = c.benchmark_group(format!("conversion/{}", backend.name()));
        let lift = BaseConverter::with_backend(&moduli[..3], &moduli[3..], [&one, &one], backend).expect("a basis");
        let scale = BaseConverter::with_backend(&moduli, &moduli[..3], [&t, &product], backend).expect("a basis");
        let mut out = Residues::zeros(4 * DEGREE);
        group.bench_function("lift", |b| b.iter(|| lift.convert(&mut out, black_box(&input[..3 * DEGREE]))));
        let mut out = Residues::zeros(3 * DEGREE);
        group.bench_function("scale", |b| b.iter(|| scale.convert(&mut out, black_box(&input))));
    }
}

fn automorphisms(c: &mut Criterion) {
    let q = modulus(DEGREE, 50);
    let automorphism = Automorphism::new(DEGREE, 3).expect("an odd element");
    let (a, mut out) = (Residues::from_slice(&polynomial(DEGREE, q, 1)), Residues::zeros(DEGREE));
    let mut group = c.benchmark_group("automorphism");
    group.throughput(Throughput::Elements(DEGREE as u64));
    group.bench_function("ntt", |b| b.iter(|| automorphism.apply_ntt(&mut out, black_box(&a))));
    group.bench_function("coefficients", |b| b.iter(|| automorphism.apply_coefficients(q, &mut out, black_box(&a))));
}

criterion_group!(benches, transforms, pointwise, conversions, automorphisms);
criterion_main!(benches);
