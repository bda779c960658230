//! Every backend against sums and products of 128-bit integers.

use std::sync::Arc;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::error::{Error, Result};
use crate::ring::backend::Backend;
use crate::ring::primes;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Parameters};

const DEGREE: usize = 1024;

fn context(bits: &[u32]) -> Arc<Context> {
    let mut moduli: Vec<u64> =
        bits.iter().map(|&bits| primes::largest(2 * DEGREE as u64, bits, 1).unwrap()[0]).collect();
    moduli.dedup();
    Context::new(Parameters::ckks(DEGREE, moduli, false).unwrap()).unwrap()
}

/// Random residues, every fourth an extreme one.
fn ciphertext(context: &Context, size: usize, primes: usize, rng: &mut ChaCha8Rng) -> Ciphertext {
    let mut ciphertext = Ciphertext::zero(context, size, primes, Form::Ntt, 1.0);
    for i in 0..size {
        for j in 0..primes {
            let q = context.modulus(j).value();
            for x in ciphertext.residues_mut(i, j) {
                let r = rng.next_u64();
                *x = if r.is_multiple_of(4) {
                    [0, 1, q / 2, q / 2 + 1, q - 1][r as usize / 4 % 5]
                } else {
                    rng.next_u64() % q
                };
            }
        }
    }
    ciphertext
}

/// Compressed rows: some share their columns, some are empty.
#[derive(Debug, Clone)]
struct Rows {
    width: usize,
    rows: Vec<Vec<(u32, i64)>>,
}

impl Rows {
    fn random(width: usize, heights: &[(usize, usize)], max_weight: i64, rng: &mut ChaCha8Rng) -> Self {
        let mut rows = Vec::new();
        for &(height, taps) in heights {
            let columns: Vec<u32> = (0..taps).map(|_| rng.next_u32() % width as u32).collect();
            for _ in 0..height {
                rows.push(columns.iter().map(|&column| (column, weight(max_weight, rng))).collect());
            }
        }
        Self { width, rows }
    }

    fn matrix(&self) -> ScalarMatrix {
        let mut offsets = vec![0];
        offsets.extend(self.rows.iter().scan(0, |sum, row| {
            *sum += row.len();
            Some(*sum)
        }));
        let (columns, weights): (Vec<u32>, Vec<i64>) = self.rows.iter().flatten().copied().unzip();
        ScalarMatrix::new(self.width, &offsets, &columns, &weights).unwrap()
    }
}

fn weight(max: i64, rng: &mut ChaCha8Rng) -> i64 {
    match rng.next_u32() % 4 {
        0 => max,
        1 => -max,
        _ => rng.next_u64() as i64 % (max + 1),
    }
}

/// The steps in a form that the oracle evaluates on one residue.
#[derive(Debug, Clone)]
enum Plain {
    Affine(Rows, Vec<u64>),
    Square,
}

impl Plain {
    fn affine(context: &Context, primes: usize, rows: Rows, rng: &mut ChaCha8Rng) -> Self {
        let bias =
            (0..rows.rows.len() * primes).map(|i| rng.next_u64() % context.modulus(i % primes).value()).collect();
        Plain::Affine(rows, bias)
    }

    fn step(&self) -> Step {
        match self {
            Plain::Affine(rows, bias) => Step::Affine(ScalarAffine::new(rows.matrix(), bias.clone()).unwrap()),
            Plain::Square => Step::Square,
        }
    }

    /// `values[value][polynomial]` modulo q, prime j of `primes`; `constant` where biases count.
    fn apply(&self, values: &[Vec<u64>], q: u64, j: usize, primes: usize, constant: bool) -> Vec<Vec<u64>> {
        let q = i128::from(q);
        match self {
            Plain::Affine(rows, bias) => {
                let size = values[0].len();
                let row = |(o, row): (usize, &Vec<(u32, i64)>)| {
                    let poly = |poly| {
                        let start = if constant && poly == 0 { i128::from(bias[o * primes + j]) } else { 0 };
                        let sum = row.iter().fold(start, |sum, &(i, w)| {
                            (sum + i128::from(w) * i128::from(values[i as usize][poly])) % q
                        });
                        sum.rem_euclid(q) as u64
                    };
                    (0..size).map(poly).collect()
                };
                rows.rows.iter().enumerate().map(row).collect()
            }
            Plain::Square => values
                .iter()
                .map(|value| {
                    let mut square = vec![0; 2 * value.len() - 1];
                    for (i, &a) in value.iter().enumerate() {
                        for (k, &b) in value.iter().enumerate() {
                            square[i + k] = ((i128::from(square[i + k]) + i128::from(a) * i128::from(b)) % q) as u64;
                        }
                    }
                    square
                })
                .collect(),
        }
    }
}

/// Compares every backend with the oracle.
fn check(context: &Context, steps: &[Plain], inputs: &[Ciphertext]) {
    let first = &inputs[0];
    let segment = Segment::new(inputs.len(), steps.iter().map(Plain::step).collect()).unwrap();
    let inputs: Vec<&Ciphertext> = inputs.iter().collect();
    let results: Vec<(Backend, Vec<Ciphertext>)> = Backend::available()
        .into_iter()
        .map(|backend| (backend, segment.run_on(backend, context, &inputs, 7.0, &Cancellation::new()).unwrap()))
        .collect();
    for j in 0..first.primes() {
        let q = context.modulus(j).value();
        for x in (0..DEGREE).step_by(7) {
            let values: Vec<Vec<u64>> =
                inputs.iter().map(|input| (0..input.size()).map(|i| input.residues(i, j)[x]).collect()).collect();
            let constant = first.form() == Form::Ntt || x == 0;
            let expected =
                steps.iter().fold(values, |values, step| step.apply(&values, q, j, first.primes(), constant));
            for (backend, outputs) in &results {
                let got: Vec<Vec<u64>> = outputs
                    .iter()
                    .map(|output| (0..output.size()).map(|i| output.residues(i, j)[x]).collect())
                    .collect();
                assert_eq!(got, expected, "{backend:?}, q = {q}, residue {x}");
            }
        }
    }
    for (_, outputs) in results {
        for output in outputs {
            assert_eq!((output.parms_id(), output.form(), output.scale()), (first.parms_id(), first.form(), 7.0));
            assert_eq!((output.primes(), output.size()), (first.primes(), segment.output_size(first.size())));
        }
    }
}

/// Group heights and row lengths around the sizes of blocks.
const HEIGHTS: [(usize, usize); 9] = [(1, 9), (2, 1), (3, 4), (4, 25), (5, 7), (6, 2), (11, 3), (1, 0), (16, 12)];

#[test]
fn affine_maps_are_right_for_primes_of_every_size() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for bits in [[15, 20], [21, 31], [32, 33], [36, 42], [49, 50], [51, 54], [58, 60]] {
        let context = context(&bits);
        for max_weight in [1, 511, (1 << 20) - 1, ScalarMatrix::MAX_WEIGHT] {
            let rows = Rows::random(40, &HEIGHTS, max_weight, &mut rng);
            let steps = [Plain::affine(&context, 2, rows, &mut rng)];
            let inputs: Vec<_> = (0..40).map(|_| ciphertext(&context, 2, 2, &mut rng)).collect();
            check(&context, &steps, &inputs);
        }
    }
}

#[test]
fn long_rows_of_the_largest_weights_do_not_overflow() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let context = context(&[40, 47, 60]);
    let input = ciphertext(&context, 2, 3, &mut rng);
    // The largest residue in absolute value, always of the sign of the weight.
    let mut extreme = input.clone();
    for i in 0..2 {
        for j in 0..3 {
            let q = context.modulus(j).value();
            extreme.residues_mut(i, j).fill(q / 2);
        }
    }
    // 16 taps of 682 and of 5 fill a sum of 53 bits, with the first and the second prime; 100 of 600 fill several.
    const MAX: i64 = ScalarMatrix::MAX_WEIGHT;
    let sums = [(100, MAX), (3000, MAX), (8, MAX), (16, 682), (16, -682), (16, 5), (17, -5), (100, 600), (100, -600)];
    for (taps, weight) in sums {
        let rows = Rows { width: 2, rows: vec![(0..taps).map(|i| (u32::from(i >= 50), weight)).collect(); 7] };
        check(&context, &[Plain::affine(&context, 3, rows, &mut rng)], &[extreme.clone(), input.clone()]);
    }
}

#[test]
fn squares_and_affine_maps_follow_each_other_in_any_order() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for bits in [[20, 30], [45, 49], [50, 60]] {
        let context = context(&bits);
        let inputs: Vec<_> = (0..12).map(|_| ciphertext(&context, 2, 2, &mut rng)).collect();
        let mut affine = |width, heights: &[(usize, usize)]| {
            let rows = Rows::random(width, heights, 1000, &mut rng);
            Plain::affine(&context, 2, rows, &mut rng)
        };
        let (first, middle, last) =
            (affine(12, &[(5, 3), (7, 4), (1, 2)]), affine(13, &[(9, 13)]), affine(9, &[(2, 9)]));
        let square = Plain::Square;
        check(&context, std::slice::from_ref(&square), &inputs);
        check(&context, &[square.clone(), square.clone(), square.clone()], &inputs[..3]);
        check(&context, &[first.clone(), square.clone(), middle.clone()], &inputs);
        check(&context, &[first.clone(), square.clone(), square.clone()], &inputs);
        check(&context, &[first, middle, square.clone(), last, square], &inputs);
        check(&context, &[], &inputs);
    }
}

#[test]
fn rows_with_entries_missing_here_and_there() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let context = context(&[50]);
    let inputs: Vec<_> = (0..30).map(|_| ciphertext(&context, 2, 1, &mut rng)).collect();
    let rows = (0..23).map(|_| {
        (0..30)
            .map(|i| (i, weight(500, &mut rng), rng.next_u32()))
            .filter(|(.., r)| r % 20 > 0)
            .map(|(i, w, _)| (i, w))
            .collect()
    });
    let rows = Rows { width: 30, rows: rows.collect() };
    assert!(rows.matrix().blocks().count() < 23);
    check(&context, &[Plain::affine(&context, 1, rows, &mut rng)], &inputs);
}

#[test]
fn three_polynomials_and_coefficient_form() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let context = context(&[36, 37]);
    let mut inputs: Vec<_> = (0..10).map(|_| ciphertext(&context, 3, 2, &mut rng)).collect();
    inputs.iter_mut().for_each(|input| input.set_form(Form::Coefficient));
    let rows = [Rows::random(10, &[(5, 3), (1, 4)], 100, &mut rng), Rows::random(6, &[(3, 6)], 100, &mut rng)];
    let steps = rows.map(|rows| Plain::affine(&context, 2, rows, &mut rng));
    check(&context, &steps, &inputs);
}

#[test]
fn rows_without_entries_give_zero_ciphertexts() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let context = context(&[30]);
    let input = ciphertext(&context, 2, 1, &mut rng);
    let matrix = ScalarMatrix::new(1, &[0, 0, 1], &[0], &[0]).unwrap();
    let segment = Segment::new(1, vec![Step::Affine(ScalarAffine::linear(matrix))]).unwrap();
    let outputs = segment.run(&context, &[&input], 1.0, &Cancellation::new()).unwrap();
    assert_eq!(outputs, vec![Ciphertext::zero(&context, 2, 1, Form::Ntt, 1.0); 2]);
}

#[test]
fn operands_that_do_not_fit_are_typed_errors() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let (context, other) = (context(&[30, 31]), self::context(&[32]));
    let sum =
        Segment::new(2, vec![Step::Affine(ScalarAffine::linear(ScalarMatrix::dense(2, &[1, 1]).unwrap()))]).unwrap();
    let input = ciphertext(&context, 2, 2, &mut rng);
    let run = |segment: &Segment, inputs: &[&Ciphertext]| {
        segment.run(&context, inputs, 1.0, &Cancellation::new()).unwrap_err()
    };
    let what = |second: &Ciphertext| match run(&sum, &[&input, second]) {
        Error::OperandMismatch { what, .. } => what,
        error => error.code(),
    };
    assert_eq!(what(&ciphertext(&context, 3, 2, &mut rng)), "sizes");
    assert_eq!(what(&ciphertext(&context, 2, 1, &mut rng)), "levels");
    assert_eq!(what(&ciphertext(&other, 2, 1, &mut rng)), "parameters-mismatch");
    let mut changed = input.clone();
    changed.set_scale(2.0);
    assert_eq!(what(&changed), "scales");
    changed = input.clone();
    changed.set_form(Form::Coefficient);
    assert_eq!(what(&changed), "forms");

    assert_eq!(run(&sum, &[&input]).code(), "shape-mismatch");
    assert_eq!(run(&Segment::new(0, vec![]).unwrap(), &[]).code(), "shape-mismatch");
    assert_eq!(run(&Segment::new(1, vec![Step::Square]).unwrap(), &[&changed]).code(), "unsupported");
    assert_eq!(run(&Segment::new(1, vec![Step::Square; 4]).unwrap(), &[&input]).code(), "unsupported");
    assert_eq!(run(&Segment::new(1, vec![Step::Square; 100]).unwrap(), &[&input]).code(), "unsupported");

    let biased = |bias: Vec<u64>| -> Result<Segment> {
        Segment::new(2, vec![Step::Affine(ScalarAffine::new(ScalarMatrix::dense(2, &[1, 1])?, bias)?)])
    };
    assert_eq!(biased(vec![]).unwrap_err().code(), "shape-mismatch");
    assert_eq!(run(&biased(vec![1]).unwrap(), &[&input, &input]).code(), "shape-mismatch");
    assert_eq!(run(&biased(vec![1, u64::MAX]).unwrap(), &[&input, &input]).code(), "invalid-argument");
    let wide = ScalarAffine::linear(ScalarMatrix::dense(3, &[1, 1, 1]).unwrap());
    assert_eq!(Segment::new(2, vec![Step::Affine(wide)]).unwrap_err().code(), "shape-mismatch");
}

#[test]
fn a_cancelled_run_stops() {
    let context = context(&[30]);
    let input = Ciphertext::zero(&context, 2, 1, Form::Ntt, 1.0);
    let cancellation = Cancellation::new();
    cancellation.cancel();
    let segment = Segment::new(1, vec![Step::Square]).unwrap();
    assert_eq!(segment.run(&context, &[&input], 1.0, &cancellation), Err(Error::Interrupted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn random_segments_agree_with_the_oracle(
        bits in 20u32..=60,
        weight_bits in 1u32..=30,
        size in 2usize..=3,
        width in 1usize..=30,
        heights in prop::collection::vec((1usize..=12, 0usize..=70), 1..4),
        squared: bool,
        seed: u64,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let context = context(&[bits]);
        let rows = Rows::random(width, &heights, 1 << weight_bits, &mut rng);
        let mut steps = vec![Plain::affine(&context, 1, rows, &mut rng)];
        if squared {
            steps.push(Plain::Square);
        }
        let inputs: Vec<_> = (0..width).map(|_| ciphertext(&context, size, 1, &mut rng)).collect();
        check(&context, &steps, &inputs);
    }
}
