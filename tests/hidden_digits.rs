//! What the digits of a re-randomised per-value answer say of the weights: no more than the number does.

use std::collections::BTreeMap;
use std::sync::Arc;

use pycrcnn::encoding::FractionalEncoder;
use pycrcnn::encryption::keygen::{KeyGenerator, secret_key};
use pycrcnn::encryption::{Decryptor, SymmetricEncryptor};
use pycrcnn::evaluator::Evaluator;
use pycrcnn::network::{AffineMap, Layer, Network};
use pycrcnn::plan::per_value::{Fidelity, PerValueProgram};
use pycrcnn::plan::reply::Rerandomizer;
use pycrcnn::ring::primes;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Ciphertext, Context, Parameters, Plaintext};

const DEGREE: usize = 2048;
const PLAIN_MODULUS: u64 = 1 << 24;
const SAMPLES: usize = 256;

/// Both answer 4 to ones: with the digits 2 + x and with 2 x.
const NETWORKS: [[f64; 2]; 2] = [[3.0, 1.0], [2.0, 2.0]];
const ANSWER: f64 = 4.0;

/// What a client finds: it knows the answer, so that whatever else the digits hold is u(x) (x - 2), and u is easily found.
struct Seen {
    /// the lowest integer digit of u, in each sample
    multipliers: Vec<f64>,
    /// the coefficients of the answer before it was re-randomised
    bare: Vec<u64>,
}

fn seen(weights: [f64; 2], largest_digit: u64) -> Seen {
    let moduli = primes::bfv_default(DEGREE, 128).unwrap().to_vec();
    let context = Context::new(Parameters::bfv(DEGREE, moduli, false, PLAIN_MODULUS).unwrap()).unwrap();
    let encoder = FractionalEncoder::new(DEGREE, PLAIN_MODULUS, 2, 64, 32).unwrap();
    let network = AffineMap::linear(&weights, [1, 2], None).unwrap();
    let network = Network::new(&[2], vec![Layer::affine("linear", network)]).unwrap();
    let evaluator = Arc::new(Evaluator::new(context.clone()));
    let program = PerValueProgram::compile(evaluator, &encoder, &network, Fidelity::Fused, largest_digit).unwrap();

    let secret = secret_key(&context).unwrap();
    let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
    let keys = generator.key_set(None, &BTreeMap::new(), &Cancellation::new()).unwrap();
    let rerandomizer = Rerandomizer::new(&context, &keys.public_key(&context).unwrap()).unwrap();
    let encryptor = SymmetricEncryptor::new(context.clone(), &secret).unwrap();
    let decryptor = Decryptor::new(context, &secret).unwrap();

    let one = encryptor.encrypt(&encoder.encode(1.0).unwrap(), None).unwrap();
    let answer = program.run(&[&one, &one], &Cancellation::new()).unwrap();
    let Plaintext::Bfv(bare) = decryptor.decrypt(&answer[0]).unwrap() else { unreachable!() };
    let copies: Vec<Ciphertext> = vec![answer[0].clone(); SAMPLES];
    let hidden = program.rerandomize(&copies, &rerandomizer, &Cancellation::new()).unwrap();
    let multipliers = hidden
        .iter()
        .map(|hidden| {
            let plaintext = decryptor.decrypt(hidden).unwrap();
            assert_eq!(encoder.decode_checked(&plaintext).unwrap(), ANSWER);
            let Plaintext::Bfv(coefficients) = plaintext else { unreachable!() };
            lowest_multiplier(&coefficients) as f64
        })
        .collect();
    Seen { multipliers, bare }
}

/// u_0, where the coefficients are x^2 + u(x) (x - 2): from the highest integer digit down, u_(k-1) = d_k + 2 u_k.
fn lowest_multiplier(coefficients: &[u64]) -> i64 {
    let digit = |k: usize| {
        let c = coefficients.get(k).map_or(0, |&c| c as i64);
        let centred = if 2 * c >= PLAIN_MODULUS as i64 { c - PLAIN_MODULUS as i64 } else { c };
        centred - i64::from(k == 2)
    };
    let middle = (64 + DEGREE - 32) / 2;
    (1..middle).rev().fold(0, |u, k| {
        let next = digit(k) + 2 * u;
        assert!(next.unsigned_abs() < PLAIN_MODULUS, "what is left is a multiple of x - 2");
        next
    })
}

/// How many standard deviations apart the means of two samples are.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let variance = |x: &[f64]| x.iter().map(|y| (y - mean(x)).powi(2)).sum::<f64>() / x.len() as f64;
    (mean(a) - mean(b)).abs() / ((variance(a) + variance(b)) / a.len() as f64).sqrt()
}

#[test]
fn the_digits_of_replies_do_not_depend_on_the_weights() {
    // Digits that fill the plaintext modulus leave room for masks from -1 to 1 only: the networks differ, by 5 deviations and
    // more. Beside their true digits the mask has 18 bits: no difference at a significance of 6 10^-7.
    let weak = NETWORKS.map(|weights| seen(weights, PLAIN_MODULUS / 8 - 2));
    assert_ne!(weak[0].bare, weak[1].bare);
    assert!(weak.iter().flat_map(|seen| &seen.multipliers).all(|u| (-2.0..=1.0).contains(u)));
    assert!(apart(&weak[0].multipliers, &weak[1].multipliers) > 5.0);
    let hidden = NETWORKS.map(|weights| seen(weights, 2));
    assert_ne!(hidden[0].bare, hidden[1].bare);
    let difference = apart(&hidden[0].multipliers, &hidden[1].multipliers);
    assert!(difference < 5.0, "{difference}");
    // And it is a uniform mask of that size.
    let bound = (PLAIN_MODULUS / 8 / 3) as f64;
    for seen in &hidden {
        let variance = seen.multipliers.iter().map(|u| (u / bound).powi(2)).sum::<f64>() / SAMPLES as f64;
        assert!((variance - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0 / SAMPLES as f64).sqrt(), "{variance}");
    }
}
