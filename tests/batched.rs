//! Batched segments on real ciphertexts: SEAL encrypts and decrypts, the clear computation is the oracle.

use pycrcnn::evaluator::batched::{ScalarAffine, ScalarMatrix, Segment, Step};
use pycrcnn::ring::primes;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Ciphertext, Context, Parameters};
use pycrcnn::seal::SealSession;

const DEGREE: usize = 4096;
const FIRST: [[i64; 3]; 4] = [[100, -37, 0], [-1, 55, 511], [7, 0, -300], [-256, 256, 1]];
const SECOND: [[i64; 4]; 2] = [[11, -90, 300, 5], [-40, 2, 0, 128]];

fn matrix<const C: usize>(rows: &[[i64; C]]) -> ScalarMatrix {
    ScalarMatrix::dense(C, rows.as_flattened()).unwrap()
}

#[test]
fn a_ckks_segment_decrypts_to_the_clear_computation() {
    let moduli = primes::create(DEGREE, &[54, 54]).unwrap();
    let context = Context::new(Parameters::ckks(DEGREE, moduli.clone(), false).unwrap()).unwrap();
    let session = SealSession::with_spare_prime(&context).unwrap();
    let (secret, public) = session.generate_keys().unwrap();

    let scale = (1u64 << 36) as f64;
    let first_bias = [0.5, -0.25, 0.0, 1.0];
    let images = |value: usize| {
        (0..DEGREE / 2).map(|image| ((image * 7 + value * 13) % 200) as f64 / 100.0 - 1.0).collect::<Vec<_>>()
    };
    let values: Vec<Vec<f64>> = (0..3).map(images).collect();
    let encrypt = |slots: &Vec<f64>| session.encrypt(&public, &session.ckks_encode(slots, 2, scale).unwrap()).unwrap();
    let inputs: Vec<Ciphertext> = values.iter().map(encrypt).collect();
    let inputs: Vec<&Ciphertext> = inputs.iter().collect();

    // Biases at the scale of the first map's outputs, as residues of each prime.
    let residue = |bias: f64, q: u64| (bias * scale).round().rem_euclid(q as f64) as u64;
    let bias = first_bias.iter().flat_map(|&bias| moduli.iter().map(move |&q| residue(bias, q))).collect();
    let steps = vec![
        Step::Affine(ScalarAffine::new(matrix(&FIRST), bias).unwrap()),
        Step::Square,
        Step::Affine(ScalarAffine::linear(matrix(&SECOND))),
    ];
    let segment = Segment::new(3, steps).unwrap();
    let outputs = segment.run(&context, &inputs, scale * scale, &Cancellation::new()).unwrap();
    assert_eq!(outputs.iter().map(|output| (output.size(), output.primes())).collect::<Vec<_>>(), [(3, 2); 2]);

    for (output, weights) in outputs.iter().zip(&SECOND) {
        let decoded = session.ckks_decode(&session.decrypt(&secret, output).unwrap()).unwrap();
        // What the sum could be at most, and a fresh ciphertext's error in proportion.
        let hidden = FIRST.map(|row| 1.0 + row.iter().map(|weight| weight.abs() as f64).sum::<f64>());
        let largest: f64 = hidden.iter().zip(weights).map(|(h, weight)| weight.abs() as f64 * h * h).sum();
        for image in 0..DEGREE / 2 {
            let hidden = FIRST.iter().zip(first_bias).map(|(row, bias)| {
                bias + row.iter().zip(&values).map(|(&weight, slots)| weight as f64 * slots[image]).sum::<f64>()
            });
            let expected: f64 = hidden.zip(weights).map(|(hidden, &weight)| weight as f64 * hidden * hidden).sum();
            assert!((decoded[image] - expected).abs() < 1e-6 * largest, "{} is not {expected}", decoded[image]);
        }
    }
}

#[test]
fn a_bfv_affine_map_is_exact_in_every_slot() {
    let t = 1_032_193;
    let moduli = primes::bfv_default(DEGREE, 128).unwrap().to_vec();
    let context = Context::new(Parameters::bfv(DEGREE, moduli.clone(), true, t).unwrap()).unwrap();
    let session = SealSession::new(&context).unwrap();
    let (secret, public) = session.generate_keys().unwrap();
    let values: Vec<Vec<i64>> =
        (0..3).map(|value| (0..DEGREE as i64).map(|image| (image * 31 + value) % 401 - 200).collect()).collect();
    let encrypt = |slots: &Vec<i64>| session.encrypt(&public, &session.batch_encode(slots).unwrap()).unwrap();
    let inputs: Vec<Ciphertext> = values.iter().map(encrypt).collect();
    let inputs: Vec<&Ciphertext> = inputs.iter().collect();

    // The same constant in every slot is a constant polynomial: round(q / t) times it, up to rounding.
    let biases = [12_345i64, -2, 0, 70_000];
    let q: u128 = moduli[..2].iter().map(|&q| u128::from(q)).product();
    let residue = |bias: i64, prime: u64| {
        let scaled = (q + u128::from(t) / 2) / u128::from(t) % u128::from(prime);
        (scaled as i128 * i128::from(bias)).rem_euclid(i128::from(prime)) as u64
    };
    let bias = biases.iter().flat_map(|&bias| moduli[..2].iter().map(move |&prime| residue(bias, prime))).collect();
    let segment = Segment::new(3, vec![Step::Affine(ScalarAffine::new(matrix(&FIRST), bias).unwrap())]).unwrap();
    let outputs = segment.run(&context, &inputs, 1.0, &Cancellation::new()).unwrap();

    for ((output, row), bias) in outputs.iter().zip(&FIRST).zip(biases) {
        let decoded = session.batch_decode(&session.decrypt(&secret, output).unwrap()).unwrap();
        for image in 0..DEGREE {
            let expected = bias + row.iter().zip(&values).map(|(weight, slots)| weight * slots[image]).sum::<i64>();
            assert_eq!(decoded[image], expected);
        }
    }
}
