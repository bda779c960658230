use proptest::prelude::*;

use super::*;
use crate::encoding::CkksEncoder;
use crate::encryption::{Decryptor, SymmetricEncryptor};
use crate::network::{Activation, AffineMap, Layer, Network};
use crate::seal::SealSession;

fn compile(network: &Network, images: &[f64]) -> Result<BatchedProgram> {
    BatchedProgram::compile(NormalForm::new(network, images)?, BatchedOptions::default())
}

/// Encrypts, runs, decrypts: `[n][inputs]` to `[n][outputs]`.
fn predict(program: &BatchedProgram, images: &[f64]) -> Vec<f64> {
    let context = program.context();
    let (secret, _) = SealSession::new(context).unwrap().generate_keys().unwrap();
    let encoder = CkksEncoder::new(context.clone()).unwrap();
    let encryptor = SymmetricEncryptor::new(context.clone(), &secret).unwrap();
    let inputs: usize = program.interface().input_shape.iter().product();
    let batch: Vec<Ciphertext> = (0..inputs)
        .map(|i| {
            let values: Vec<f64> = images.iter().skip(i).step_by(inputs).copied().collect();
            let plaintext = encoder.encode(&values, program.interface().input_scale, context.data_primes()).unwrap();
            encryptor.encrypt(&plaintext, None).unwrap()
        })
        .collect();
    let answers = program.run(&batch.iter().collect::<Vec<_>>(), &Cancellation::new()).unwrap();
    let decryptor = Decryptor::new(context.clone(), &secret).unwrap();
    let columns: Vec<Vec<f64>> =
        answers.iter().map(|answer| encoder.decode(&decryptor.decrypt(answer).unwrap()).unwrap()).collect();
    (0..images.len() / inputs).flat_map(|image| columns.iter().map(move |column| column[image])).collect()
}

/// A dense map with weights and biases from a generator.
fn dense(inputs: usize, outputs: usize, seed: &mut u64) -> AffineMap {
    let mut number = || {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let weights: Vec<f64> = (0..inputs * outputs).map(|_| number() / (inputs as f64).sqrt()).collect();
    let bias: Vec<f64> = (0..outputs).map(|_| number()).collect();
    AffineMap::linear(&weights, [outputs, inputs], Some(&bias)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn encrypted_answers_are_the_clear_ones(
        widths in prop::collection::vec(1usize..6, 2..5),
        linear in -1.0f64..1.0,
        mut seed: u64,
    ) {
        let mut layers = Vec::new();
        for (i, pair) in widths.windows(2).enumerate() {
            layers.push(Layer::affine("affine", dense(pair[0], pair[1], &mut seed)));
            if i + 2 < widths.len() {
                let quadratic = Activation::polynomial(&[0.1, linear, 0.7]).unwrap();
                layers.push(Layer::activation("activation", if i == 0 { Activation::Square } else { quadratic }));
            }
        }
        let network = Network::new(&widths[..1], layers).unwrap();
        let images: Vec<f64> = (0..7 * widths[0]).map(|i| (i as f64 * 0.37).sin()).collect();
        let program = compile(&network, &images).unwrap();
        prop_assert!(program.context().parameters().check_security(128).is_ok());
        let clear = network.evaluate(&images).unwrap();
        for (value, expected) in predict(&program, &images).iter().zip(clear) {
            prop_assert!((value - expected).abs() < 0.01, "{value} {expected}");
        }
    }
}

#[test]
fn residual_networks_and_quartics_give_the_clear_answers() {
    let mut seed = 5;
    let square = || Layer::activation("square", Activation::Square);
    let body =
        vec![Layer::affine("first", dense(4, 6, &mut seed)), square(), Layer::affine("second", dense(6, 4, &mut seed))];
    let shortcut = vec![Layer::affine("around", dense(4, 4, &mut seed))];
    let quartic = Activation::polynomial(&[0.1, 0.5, 0.4, -0.1, 0.05]).unwrap();
    let layers = vec![
        Layer::residual("block", body, shortcut),
        Layer::activation("quartic", quartic),
        Layer::affine("last", dense(4, 2, &mut seed)),
    ];
    let network = Network::new(&[4], layers).unwrap();
    let images: Vec<f64> = (0..9 * 4).map(|i| 2.0 * (i as f64 * 0.37).sin()).collect();
    let program = compile(&network, &images).unwrap();
    let clear = network.evaluate(&images).unwrap();
    let largest = clear.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (value, expected) in predict(&program, &images).iter().zip(clear) {
        assert!((value - expected).abs() < 0.01 * largest, "{value} {expected}");
    }
}

#[test]
fn precision_that_no_integer_has_room_for_is_out_of_reach() {
    let mut seed = 3;
    let map = |seed: &mut u64| Layer::affine("affine", dense(4, 4, seed));
    let layers = vec![
        map(&mut seed),
        Layer::activation("square", Activation::Square),
        map(&mut seed),
        Layer::activation("square", Activation::Square),
        map(&mut seed),
    ];
    let network = Network::new(&[4], layers).unwrap();
    for precision in 2..32 {
        let normal = NormalForm::new(&network, &[0.5; 4]).unwrap();
        match BatchedProgram::compile(normal, BatchedOptions { precision, ..Default::default() }) {
            Ok(_) => assert!(precision < 29),
            Err(Error::InvalidArgument { name: "precision", .. }) => assert!(precision >= 29),
            Err(Error::Unsupported { reason, .. }) => assert!(reason.contains("ask for less precision"), "{reason}"),
            Err(other) => panic!("{precision}: {other}"),
        }
    }
}

#[test]
fn values_beyond_double_precision_are_refused() {
    let network = Network::new(&[1], vec![Layer::activation("square", Activation::Square)]).unwrap();
    let error = compile(&network, &[1e200]).unwrap_err();
    assert!(error.to_string().contains("scale the images"), "{error}");
}

#[test]
fn a_network_that_is_too_deep_is_refused() {
    let mut seed = 1;
    let layer =
        |seed: &mut u64| [Layer::affine("map", dense(2, 2, seed)), Layer::activation("square", Activation::Square)];
    let layers: Vec<Layer> = (0..6).flat_map(|_| layer(&mut seed)).collect();
    let network = Network::new(&[2], layers).unwrap();
    let error = compile(&network, &[0.1, 0.2]).unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("6 squares"), "{error}");
}
