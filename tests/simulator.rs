//! The simulator against encryption: what decryption gives after each layer is what the simulator says, coefficient for
//! coefficient, where the coefficients fit the plaintext modulus and where they wrap around it.

use std::sync::Arc;

use pycrcnn::encoding::{BatchEncoder, ConstantEncoder, FractionalEncoder, IntegerEncoder};
use pycrcnn::encryption::{Decryptor, SymmetricEncryptor};
use pycrcnn::evaluator::Evaluator;
use pycrcnn::network::{
    Activation, AffineMap, Conv2d, IntegerNetwork, Layer, Network, Operation, PlainRing, Pool2d, Simulator,
};
use pycrcnn::plan::layer::{self, Encoding};
use pycrcnn::plan::per_value::{Fidelity, PerValueProgram};
use pycrcnn::ring::primes;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Ciphertext, Context, Form, Parameters, Plaintext};
use pycrcnn::seal::SealSession;

/// One party that holds everything: all of q carries data.
struct Party {
    context: Arc<Context>,
    evaluator: Arc<Evaluator>,
    encryptor: SymmetricEncryptor,
    decryptor: Decryptor,
}

impl Party {
    fn new(degree: usize, t: u64) -> Self {
        let moduli = primes::bfv_default(degree, 128).unwrap().to_vec();
        let context = Context::new(Parameters::bfv(degree, moduli, false, t).unwrap()).unwrap();
        let (secret, _) = SealSession::new(&context).unwrap().generate_keys().unwrap();
        Self {
            evaluator: Arc::new(Evaluator::new(context.clone())),
            encryptor: SymmetricEncryptor::new(context.clone(), &secret).unwrap(),
            decryptor: Decryptor::new(context.clone(), &secret).unwrap(),
            context,
        }
    }

    fn encrypt(&self, plaintexts: &[Plaintext]) -> Vec<Ciphertext> {
        self.encryptor.encrypt_all(plaintexts, None, &Cancellation::new()).unwrap()
    }

    /// The coefficients of each message; an exhausted noise budget is an error of the decryptor.
    fn decrypt(&self, ciphertexts: &[Ciphertext]) -> Vec<Vec<u64>> {
        let degree = self.context.degree();
        let plaintexts = self.decryptor.decrypt_all(ciphertexts, &Cancellation::new()).unwrap();
        let padded = |plaintext| match plaintext {
            Plaintext::Bfv(mut coefficients) => {
                coefficients.resize(degree, 0);
                coefficients
            }
            Plaintext::Ckks { .. } => panic!("these are BFV parameters"),
        };
        plaintexts.into_iter().map(padded).collect()
    }

    fn ring(&self) -> PlainRing {
        PlainRing::new(self.context.degree(), self.context.parameters().plain_modulus()).unwrap()
    }

    /// Layer by layer as PyCrCNN's users run them: the ciphertexts after each layer.
    fn layers(&self, network: &Network, encoding: Encoding, image: Vec<Ciphertext>) -> Vec<Vec<Ciphertext>> {
        let mut outputs: Vec<Vec<Ciphertext>> = Vec::new();
        for layer in network.layers() {
            let values = outputs.last().unwrap_or(&image);
            outputs.push(match &layer.operation {
                Operation::Affine(map) => {
                    let values: Vec<Option<&Ciphertext>> = values.iter().map(Some).collect();
                    let layer = layer::Layer { map, encoding, divisor: 1.0, weight_scale: 1.0 };
                    layer.run(&self.context, &values, &Cancellation::new()).unwrap()
                }
                _ => {
                    let square = |c: &Ciphertext| match c.form() {
                        Form::Coefficient => self.evaluator.square(c),
                        Form::Ntt => self.evaluator.square(&self.evaluator.to_coefficients(c)?),
                    };
                    values.iter().map(|c| square(c).unwrap()).collect()
                }
            });
        }
        outputs
    }
}

/// Numbers with full fractions, or with `bits` bits of them, in [-1, 1].
fn numbers(count: usize, phase: f64, bits: Option<i32>) -> Vec<f64> {
    let unit = bits.map_or(1.0, |bits| 2f64.powi(bits));
    let number = |i| (i as f64 * 0.7 + phase).sin();
    (0..count).map(number).map(|x| if bits.is_some() { (x * unit).round() / unit } else { x }).collect()
}

const IMAGE: [usize; 3] = [1, 6, 6];

fn image(bits: Option<i32>) -> Vec<f64> {
    numbers(36, 0.3, bits)
}

fn convolution(bits: Option<i32>) -> Layer {
    let (weights, bias) = (numbers(2 * 4, 0.1, bits), numbers(2, 0.5, bits));
    let conv = Conv2d { bias: Some(&bias), stride: [2, 2], padding: [1, 1], ..Conv2d::new(&weights, [2, 1, 2, 2]) };
    Layer::affine("convolution", AffineMap::conv2d(IMAGE, &conv).unwrap())
}

fn square() -> Layer {
    Layer::activation("square", Activation::Square)
}

/// Convolution, square, pooling and two fully connected layers: the shape of the paper's network.
fn whole(bits: Option<i32>) -> Network {
    let pool = Pool2d { kernel: [3, 3], stride: [1, 1], padding: [0, 0] };
    let (first, second) = (numbers(24, 0.2, bits), numbers(6, 0.4, bits));
    let layers = vec![
        convolution(bits),
        square(),
        Layer::affine("pool", AffineMap::avg_pool2d([2, 4, 4], &pool).unwrap()),
        Layer::affine("flatten", AffineMap::flatten(&[2, 2, 2]).unwrap()),
        Layer::affine("first", AffineMap::linear(&first, [3, 8], Some(&numbers(3, 0.9, bits))).unwrap()),
        Layer::affine("second", AffineMap::linear(&second, [2, 3], None).unwrap()),
    ];
    Network::new(&IMAGE, layers).unwrap()
}

/// Runs the network on an encrypted image in every way that there is and compares every layer with the simulator.
/// Gives the decoded answer and the one in clear.
fn compare(degree: usize, t: u64, network: &Network, image: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let party = Party::new(degree, t);
    let encoder = FractionalEncoder::new(degree, t, 2, 64, 32).unwrap();
    let encrypted = party.encrypt(&encoder.encode_all(image).unwrap());
    let simulate = |network: &Network| {
        let simulator = Simulator::new(network, party.ring(), encoder.clone()).unwrap();
        let trace = simulator.trace(&simulator.encode(image).unwrap()).unwrap();
        let coefficients = |values: Vec<_>| values.iter().map(|value| party.ring().coefficients(value)).collect();
        trace.into_iter().map(coefficients).collect::<Vec<Vec<Vec<u64>>>>()
    };

    let expected = simulate(network);
    for (layer, (outputs, expected)) in network
        .layers()
        .iter()
        .zip(party.layers(network, Encoding::Fractional(&encoder), encrypted.clone()).iter().zip(&expected))
    {
        assert!(party.decrypt(outputs) == *expected, "m = {degree}, t = {t}: {} on its own", layer.name);
    }

    let borrowed: Vec<&Ciphertext> = encrypted.iter().collect();
    for fidelity in [Fidelity::Layers, Fidelity::Fused] {
        let program = PerValueProgram::compile(party.evaluator.clone(), &encoder, network, fidelity, 0).unwrap();
        let computed = program.computed_network();
        let expected = simulate(computed);
        let mut seen = 0;
        let answers = program.run_observed(&borrowed, &Cancellation::new(), |name, values| {
            let at = computed.layers().iter().position(|layer| layer.name == name).unwrap();
            assert!(party.decrypt(values) == expected[at], "m = {degree}, t = {t}: {name} of {fidelity:?}");
            seen += 1;
            Ok(())
        });
        assert_eq!(seen, program.step_names().len());
        assert!(party.decrypt(&answers.unwrap()) == *expected.last().unwrap());
    }
    let answer = expected.last().unwrap().iter();
    let decoded = answer.map(|c| encoder.decode_all_digits(&Plaintext::Bfv(c.clone())).unwrap()).collect();
    (decoded, network.evaluate(image).unwrap())
}

fn largest_difference((decoded, clear): &(Vec<f64>, Vec<f64>)) -> f64 {
    decoded.iter().zip(clear).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn the_papers_network_decrypts_to_the_simulators_digits() {
    let error = largest_difference(&compare(4096, 100_000_007, &whole(None), &image(None)));
    assert!(error < 1e-6, "{error}");
}

#[test]
fn digits_that_outgrow_the_plaintext_modulus_are_predicted_too() {
    let error = largest_difference(&compare(4096, 257, &whole(None), &image(None)));
    assert!(error > 1.0, "nothing wrapped around: {error}");
}

#[test]
fn one_square_at_m_2048_and_one_layer_at_m_1024() {
    let bits = Some(3);
    let linear =
        AffineMap::linear(&numbers(32, 0.2, Some(1)), [1, 32], None).unwrap().reshaped(&[2, 4, 4], &[1]).unwrap();
    let network = Network::new(&IMAGE, vec![convolution(bits), square(), Layer::affine("linear", linear)]).unwrap();
    let exact = compare(2048, 1024, &network, &image(bits));
    assert_eq!(largest_difference(&exact), 0.0);
    assert!(largest_difference(&compare(2048, 5, &network, &image(bits))) > 0.0);

    let network = Network::new(&IMAGE, vec![convolution(bits)]).unwrap();
    assert_eq!(largest_difference(&compare(1024, 32, &network, &image(bits))), 0.0);
    assert!(largest_difference(&compare(1024, 3, &network, &image(bits))) > 0.0);
}

/// Fully connected layers with a square between them, over integers.
fn integers() -> IntegerNetwork {
    let layers = vec![
        Layer::affine(
            "first",
            AffineMap::linear(&numbers(12, 0.1, None), [3, 4], Some(&numbers(3, 0.5, None))).unwrap(),
        ),
        square(),
        Layer::affine("second", AffineMap::linear(&numbers(6, 0.4, None), [2, 3], None).unwrap()),
    ];
    IntegerNetwork::new(&Network::new(&[4], layers).unwrap(), 8.0, 4).unwrap()
}

#[test]
fn integers_decrypt_to_what_modular_evaluation_says() {
    // Both are primes congruent to 1 modulo 8192: all answers fit the first, most do not fit the second.
    for (t, fits) in [(786_433, true), (40_961, false)] {
        let (network, party) = (integers(), Party::new(4096, t));
        let clear = network.to_network().unwrap();
        let images: Vec<f64> = numbers(4 * 4096, 0.2, None);
        let quantized = network.quantize(&images).unwrap();
        let expected = network.evaluate_modulo(&quantized, t).unwrap();
        assert_eq!(expected == network.evaluate(&quantized).unwrap(), fits, "t = {t}");

        let constants = ConstantEncoder::new(t).unwrap();
        let encoded: Vec<Plaintext> = quantized[..8].iter().map(|&x| constants.encode(x).unwrap()).collect();
        for (image, expected) in encoded.chunks(4).zip(expected.chunks(2)) {
            let outputs = party.layers(&clear, Encoding::Constant(&constants), party.encrypt(image));
            let decrypted = party.decrypt(outputs.last().unwrap());
            assert!(decrypted.iter().all(|coefficients| coefficients[1..].iter().all(|&c| c == 0)));
            let decoded = decrypted.into_iter().map(|c| constants.decode(&Plaintext::Bfv(c)).unwrap().into());
            assert_eq!(decoded.collect::<Vec<i128>>(), expected, "t = {t}");
        }

        let batch = BatchEncoder::new(&party.context).unwrap();
        let slots = |i: usize| quantized.iter().skip(i).step_by(4).copied().collect::<Vec<i64>>();
        let encoded: Vec<Plaintext> = (0..4).map(|i| batch.encode(&slots(i)).unwrap()).collect();
        let outputs = party.layers(&clear, Encoding::Constant(&constants), party.encrypt(&encoded));
        for (i, coefficients) in party.decrypt(outputs.last().unwrap()).into_iter().enumerate() {
            let decoded = batch.decode(&Plaintext::Bfv(coefficients)).unwrap().into_iter().map(i128::from);
            assert!(decoded.eq(expected.iter().skip(i).step_by(2).copied()), "t = {t}, answer {i}");
        }
    }
}

#[test]
fn integers_in_digits_decrypt_to_the_simulators_digits() {
    for (t, fits) in [(65_537, true), (7, false)] {
        let (network, party) = (integers(), Party::new(4096, t));
        let clear = network.to_network().unwrap();
        let encoder = IntegerEncoder::new(4096, t, 3).unwrap();
        let quantized = network.quantize(&numbers(4, 0.2, None)).unwrap();
        let encoded: Vec<Plaintext> = quantized.iter().map(|&x| encoder.encode(x)).collect();
        let outputs = party.layers(&clear, Encoding::Integer(&encoder), party.encrypt(&encoded));

        let simulator = Simulator::new(&clear, party.ring(), encoder.clone()).unwrap();
        let values: Vec<f64> = quantized.iter().map(|&x| x as f64).collect();
        let trace = simulator.trace(&simulator.encode(&values).unwrap()).unwrap();
        for (outputs, expected) in outputs.iter().zip(trace) {
            let expected: Vec<Vec<u64>> = expected.iter().map(|value| party.ring().coefficients(value)).collect();
            assert!(party.decrypt(outputs) == expected, "t = {t}");
        }
        let decrypted = party.decrypt(outputs.last().unwrap()).into_iter();
        let decoded: Vec<i128> =
            decrypted.map(|c| encoder.decode(&Plaintext::Bfv(c)).map_or(i128::MAX, i128::from)).collect();
        assert_eq!(decoded == network.evaluate(&quantized).unwrap(), fits, "t = {t}");
    }
}
