use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::encryption::{Decryptor, KeyGenerator, PublicEncryptor, SymmetricEncryptor, keygen};
use crate::error::{Error, OutOfReach};
use crate::evaluator::packed::{Descent, PackedKeys};
use crate::network::{Activation, AffineMap, Conv2d, Layer, Network};
use crate::plan::NormalForm;
use crate::plan::envelope::{self, Kind};
use crate::plan::packed::plan::Step;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Plaintext};

const LIMIT: u64 = 1 << 26;

fn number(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*seed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn numbers(count: usize, seed: &mut u64) -> Vec<f64> {
    (0..count).map(|_| number(seed)).collect()
}

fn dense(inputs: usize, outputs: usize, seed: &mut u64) -> AffineMap {
    let weights = numbers(inputs * outputs, seed);
    AffineMap::linear(&weights, [outputs, inputs], Some(&numbers(outputs, seed))).unwrap()
}

/// A convolution, a square, a second map, perhaps a square and a third.
fn network(size: usize, channels: [usize; 2], kernel: usize, stride: usize, deep: bool, seed: &mut u64) -> Network {
    let shape = [channels[1], channels[0], kernel, kernel];
    let (weights, bias) = (numbers(shape.iter().product(), seed), numbers(channels[1], seed));
    let conv = Conv2d { stride: [stride; 2], padding: [1; 2], bias: Some(&bias), ..Conv2d::new(&weights, shape) };
    let conv = AffineMap::conv2d([channels[0], size, size], &conv).unwrap();
    let square = || Layer::activation("square", Activation::Square);
    let mut layers = vec![Layer::affine("conv", conv.clone()), square()];
    let middle = if deep { 7 } else { 3 };
    let second = dense(conv.outputs(), middle, seed).reshaped(conv.output_shape(), &[middle]).unwrap();
    layers.push(Layer::affine("dense", second));
    if deep {
        layers.extend([square(), Layer::affine("last", dense(middle, 3, seed))]);
    }
    Network::new(&[channels[0], size, size], layers).unwrap()
}

fn plan(network: &Network, examples: &[f64], options: ExactOptions) -> ExactPlan {
    ExactPlan::new(&NormalForm::new(network, examples).unwrap(), examples, options).unwrap()
}

/// Answers as they are decrypted; every ciphertext on the way has at least the noise budget that was foretold.
fn encrypted(plan: ExactPlan, images: &[f64], public: bool) -> Vec<f64> {
    let never = Cancellation::new();
    let program = ExactProgram::new(plan, &never).unwrap();
    let (plan, contexts) = (program.plan(), program.contexts());
    let interface = &plan.interface;
    let secret = keygen::secret_key(&contexts[0]).unwrap();
    let generator = KeyGenerator::new(contexts[0].clone(), &secret).unwrap();
    let keys =
        generator.key_set(interface.arrangement.relinearization, &interface.arrangement.rotations, &never).unwrap();
    let public_key = keys.public_key(&contexts[0]).unwrap();
    let keys = PackedKeys::new(&contexts[0], keys.expand(&contexts[0], &never).unwrap()).unwrap();
    let encoder = interface::ExactEncoder::new(contexts).unwrap();
    let decryptors: Vec<Decryptor> = contexts
        .iter()
        .map(|context| Decryptor::new(context.clone(), &secret.shared(&contexts[0], context)).unwrap())
        .collect();
    let encrypt = |(context, plaintext): (&std::sync::Arc<crate::scheme::Context>, &Plaintext)| {
        if public {
            let key = public_key.shared(&contexts[0], context);
            PublicEncryptor::new(context.clone(), &key).unwrap().encrypt(plaintext, None).unwrap()
        } else {
            let key = secret.shared(&contexts[0], context);
            SymmetricEncryptor::new(context.clone(), &key).unwrap().encrypt(plaintext, None).unwrap()
        }
    };
    let plaintexts = encoder.encode(interface, images).unwrap();
    let image: Vec<Ciphertext> = contexts.iter().zip(&plaintexts).map(encrypt).collect();

    let forecast = plan.forecast();
    let checked = |at: usize, foretold: i32, value: &Ciphertext, what: &str| {
        let budget = decryptors[at].noise_budget(value).unwrap() as i32;
        assert!(budget >= foretold, "{what}: {budget} bits are left, {foretold} were foretold");
    };
    let levels = Mutex::new(Vec::new());
    let answers = program
        .run_observed(&image, &keys, &never, |at, step, value| {
            checked(at, forecast.budgets[step + 1], value, "a step");
            levels.lock().unwrap().push((at, step, value.primes()));
        })
        .unwrap();
    for (at, (image, answer)) in image.iter().zip(&answers).enumerate() {
        checked(at, forecast.budgets[0], image, "fresh");
        checked(at, forecast.reply_budget, answer, "the reply");
        assert_eq!(answer.primes(), interface.reply);
    }
    let expected: Vec<usize> = plan.levels().into_iter().zip(&plan.descents).map(|(l, d)| d.left(l)).collect();
    for (_, step, primes) in levels.into_inner().unwrap() {
        assert_eq!(primes, expected[step]);
    }
    let plaintexts: Vec<Plaintext> =
        decryptors.iter().zip(&answers).map(|(decryptor, answer)| decryptor.decrypt(answer).unwrap()).collect();
    encoder.decode(interface, &plaintexts, images.len() / interface.arrangement.input.len()).unwrap()
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, x| largest.max(x.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn encrypted_answers_are_the_simulated_ones(
        size in 4usize..9,
        inputs in 1usize..3,
        outputs in 1usize..4,
        kernel in 1usize..4,
        stride in 1usize..3,
        deep: bool,
        precision in 3u32..9,
        images in prop::sample::select(vec![1usize, 2]),
        public: bool,
        mut seed: u64,
    ) {
        let network = network(size, [inputs, outputs], kernel, stride, deep, &mut seed);
        let examples = numbers(2 * images * network.inputs(), &mut seed);
        let plan = plan(&network, &examples, ExactOptions { precision, images, ..Default::default() });
        let simulated = plan.simulate(&examples).unwrap();
        let clear = network.evaluate(&examples).unwrap();
        let range = largest(clear.iter().copied());
        // Each map rounds by 2^-(precision + 1) of its range at most, and squares double what came before.
        let error = largest(simulated.iter().zip(&clear).map(|(a, b)| a - b));
        prop_assert!(error <= 40.0 * range * 0.5f64.powi(precision as i32), "{error} of {range}");
        prop_assert_eq!(encrypted(plan, &examples, public), simulated);
    }

    #[test]
    fn damaged_files_are_refused(at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let plan = small();
        let bytes = plan.to_bytes();
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= 1 << bit;
        if let Ok(read) = ExactPlan::from_bytes(&damaged, LIMIT) {
            // Some bits of a compressed stream carry nothing.
            prop_assert_eq!(&read, &plan);
        }
        prop_assert!(ExactPlan::from_bytes(&bytes[..cut.index(bytes.len())], LIMIT).is_err());
    }

    #[test]
    fn foreign_bodies_are_refused_or_sound(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(plan) = ExactPlan::from_bytes(&envelope::enclose(Kind::ExactProgram, &body), LIMIT) {
            prop_assert!(plan.levels().iter().all(|&level| level > 0));
        }
    }
}

/// A small plan with two plaintext moduli or more.
fn small() -> ExactPlan {
    let mut seed = 5;
    let layers = vec![
        Layer::affine("first", dense(4, 6, &mut seed)),
        Layer::activation("square", Activation::Square),
        Layer::affine("second", dense(6, 2, &mut seed)),
    ];
    plan(&Network::new(&[4], layers).unwrap(), &[0.5, -1.0, 0.25, 0.75], ExactOptions::default())
}

#[test]
fn residual_blocks_and_cubics_are_exact_too() {
    let mut seed = 3;
    let square = Layer::activation("square", Activation::Square);
    let body = vec![Layer::affine("in", dense(5, 5, &mut seed)), square, Layer::affine("out", dense(5, 5, &mut seed))];
    let cubic = Layer::activation("cubic", Activation::polynomial(&[0.1, 0.5, 0.2, -0.01]).unwrap());
    let layers = vec![Layer::residual("block", body, vec![]), cubic, Layer::affine("last", dense(5, 3, &mut seed))];
    let network = Network::new(&[5], layers).unwrap();
    let examples = numbers(2 * 5, &mut seed);
    let plan = plan(&network, &examples, ExactOptions { precision: 4, ..Default::default() });
    let simulated = plan.simulate(&examples).unwrap();
    assert_eq!(encrypted(plan, &examples, false), simulated);
}

#[test]
fn whole_weights_are_not_rounded() {
    let square = Layer::activation("square", Activation::Square);
    let first = AffineMap::linear(&[1.5, -2.0, 0.25, 3.0], [2, 2], Some(&[0.5, 0.0])).unwrap();
    let last = AffineMap::linear(&[0.5, 0.5], [1, 2], None).unwrap();
    let layers = vec![Layer::affine("first", first), square, Layer::affine("mean", last)];
    let network = Network::new(&[2], layers).unwrap();
    let examples = [0.5, 1.0, -0.75, 0.25];
    let plan = plan(&network, &examples, ExactOptions::default());
    assert_eq!(plan.simulate(&examples).unwrap(), network.evaluate(&examples).unwrap());
    // The mean is a sum: its factor is in the scale.
    let [.., Step::Linear { groups, .. }] = plan.steps.as_slice() else {
        let linear = plan.steps.iter().rev().find(|step| matches!(step, Step::Linear { .. }));
        let Some(Step::Linear { groups, .. }) = linear else { panic!("no map") };
        assert!(groups.iter().flat_map(|g| &g.diagonals).flat_map(|(_, w)| w).all(|entry| entry.weight == 1.0));
        return;
    };
    assert!(groups.iter().flat_map(|g| &g.diagonals).flat_map(|(_, w)| w).all(|entry| entry.weight == 1.0));
}

#[test]
fn files_come_back_the_same() {
    let plan = small();
    assert_eq!(ExactPlan::from_bytes(&plan.to_bytes(), LIMIT).unwrap(), plan);
    assert_eq!(ExactInterface::from_bytes(&plan.interface.to_bytes(), LIMIT).unwrap(), plan.interface);
    assert_eq!(plan.interface.arrangement.program, file::identity(&plan));
    let error = ExactPlan::from_bytes(&plan.interface.to_bytes(), LIMIT).unwrap_err();
    assert!(error.to_string().contains("packed program of BFV"), "{error}");
    assert_eq!(ExactPlan::from_bytes(&plan.to_bytes(), 100).unwrap_err().code(), "too-large");
    let mut lower = plan.clone();
    lower.descents.fill(Descent::Drop);
    assert_eq!(ExactPlan::from_bytes(&lower.to_bytes(), LIMIT).unwrap_err().code(), "malformed");
}

#[test]
fn answers_that_outgrow_the_moduli_are_seen() {
    let plan = small();
    let far = [50.0, -100.0, 25.0, 75.0];
    let error = plan.simulate(&far).unwrap_err();
    assert_eq!(error.code(), "scale-out-of-range");
    assert!(error.to_string().contains("calibration"), "{error}");
    for unusable in [f64::NAN, f64::INFINITY, 1e30] {
        assert_eq!(plan.simulate(&[unusable, 0.0, 0.0, 0.0]).unwrap_err().code(), "unencodable");
    }
    assert_eq!(plan.simulate(&[0.0; 3]).unwrap_err().code(), "shape-mismatch");
}

#[test]
fn networks_without_room_learn_what_would_fit() {
    let mut seed = 11;
    let mut layers = vec![Layer::affine("first", dense(4, 6, &mut seed))];
    for _ in 0..3 {
        layers.push(Layer::activation("square", Activation::Square));
        layers.push(Layer::affine("next", dense(6, 6, &mut seed)));
    }
    let examples = numbers(8, &mut seed);
    let compiled = |layers: &[Layer], options: ExactOptions| {
        let normal = NormalForm::new(&Network::new(&[4], layers.to_vec()).unwrap(), &examples).unwrap();
        ExactPlan::new(&normal, &examples, options)
    };
    let refused = |layers: &[Layer], options: ExactOptions| match compiled(layers, options) {
        Err(Error::OutOfReach(reason)) => *reason,
        other => panic!("{:?}", other.map(|plan| plan.interface)),
    };
    let options = ExactOptions { security: 256, precision: 24, ..Default::default() };
    let OutOfReach::Long { needs, integers, longest, needed, limit: 462, .. } = refused(&layers, options) else {
        panic!("it is too long for {options:?}")
    };
    // What is said to have no room has none; no figure stands for none that could be told.
    assert!(integers.is_none_or(|bits| bits > longest || needed.is_none_or(|bits| bits > 462)));
    assert_eq!((needs.maps, needs.degree, &*needs.layer), (4, 32768, "next"));
    let Some(precision) = needs.fitting_precision else { panic!("a lower precision fits") };
    assert!(compiled(&layers, ExactOptions { precision, ..options }).is_ok());
    assert!(compiled(&layers, ExactOptions { precision: precision + 1, ..options }).is_err());
    assert!(compiled(&layers[..2 * needs.fitting_maps - 1], options).is_ok());
    assert!(compiled(&layers[..2 * needs.fitting_maps + 1], options).is_err());
    let wide = refused(&layers[..1], ExactOptions { images: 1 << 13, ..Default::default() });
    let expected = OutOfReach::Wide {
        layer: "first".into(),
        inputs: 4,
        outputs: 6,
        degree: 32768,
        slots: 2,
        images: 1 << 13,
        times: 3,
    };
    assert_eq!(wide, expected);
    let normal = NormalForm::new(&Network::new(&[4], layers[..1].to_vec()).unwrap(), &examples).unwrap();
    let options = ExactOptions { images: 3, ..Default::default() };
    assert_eq!(ExactPlan::new(&normal, &examples, options).unwrap_err().code(), "invalid-argument");
}
