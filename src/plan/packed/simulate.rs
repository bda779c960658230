//! What a packed program would answer, in clear: its steps on vectors of slots, with the noise that encryption would add.

use rayon::prelude::*;

use super::noise::{Noise, NoiseModel};
use super::plan::{Plan, Step};
use crate::error::Result;

/// Ciphertexts that are simulated under one key.
const CIPHERTEXTS_A_KEY: usize = 8;

impl Plan {
    /// The slots after the last step, with noise drawn from `noise` (none: exact arithmetic).
    pub(in crate::plan) fn evaluate_slots(&self, slots: Vec<f64>, mut noise: Option<&mut Noise<'_>>) -> Vec<f64> {
        // A power of two: a rotation is an addition under a mask.
        let mask = slots.len() - 1;
        let mut values = slots;
        if let Some(noise) = &mut noise {
            noise.encrypt(&mut values);
        }
        for (i, step) in self.steps.iter().enumerate() {
            let deviations = noise.as_ref().map(|noise| noise.of_step(i, &values));
            values = match step {
                Step::Sum { rotations } => {
                    let rotated = |i: usize| rotations.iter().map(|rotation| values[(i + rotation) & mask]).sum();
                    (0..=mask).map(rotated).collect()
                }
                Step::Linear { groups, bias } => {
                    let mut out = vec![0.0; values.len()];
                    for group in groups {
                        let back = values.len() - group.giant;
                        for (baby, entries) in &group.diagonals {
                            for entry in entries {
                                let at = entry.slot as usize;
                                out[(at + back) & mask] += entry.weight * values[(at + baby) & mask];
                            }
                        }
                    }
                    bias.iter().for_each(|entry| out[entry.slot as usize] += entry.weight);
                    out
                }
                Step::Square => values.iter().map(|value| value * value).collect(),
            };
            if let (Some(noise), Some(deviations)) = (&mut noise, deviations) {
                noise.add(&mut values, deviations);
            }
        }
        values
    }

    /// Answers to images (`[n][inputs]`, flattened) as decryption would give them, noise included: eight ciphertexts under a
    /// key, the next eight under another. In parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// As [`Interface::slots_of`](super::Interface::slots_of), for each group of images that share a ciphertext.
    pub fn simulate(&self, images: &[f64], seed: u64) -> Result<Vec<f64>> {
        self.answers(images, Some((&NoiseModel::new(self), seed)))
    }

    /// Answers to images, with noise from a seed or without.
    fn answers(&self, images: &[f64], noise: Option<(&NoiseModel, u64)>) -> Result<Vec<f64>> {
        let inputs = self.interface.arrangement.input.len();
        let ciphertext = inputs * self.interface.arrangement.images;
        let of_key = |(key, images): (usize, &[f64])| {
            let mut noise = noise.map(|(model, seed)| model.of_key(seed ^ (key as u64) << 32));
            let mut answers = Vec::new();
            for group in images.chunks(ciphertext) {
                let slots = self.evaluate_slots(self.interface.slots_of(group)?, noise.as_mut());
                answers.extend(self.interface.answers_in(&slots, group.len() / inputs));
            }
            Ok(answers)
        };
        let keys = images.par_chunks(ciphertext * CIPHERTEXTS_A_KEY).enumerate();
        Ok(keys.map(of_key).collect::<Result<Vec<Vec<f64>>>>()?.concat())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan::PackedOptions;
    use super::*;
    use crate::network::{Activation, AffineMap, Conv2d, Layer, Network};
    use crate::plan::NormalForm;

    fn number(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn numbers(count: usize, seed: &mut u64) -> Vec<f64> {
        (0..count).map(|_| number(seed)).collect()
    }

    /// A convolution, a square, a second map, perhaps a square and a third.
    fn network(size: usize, channels: [usize; 2], kernel: usize, stride: usize, deep: bool, seed: &mut u64) -> Network {
        let shape = [channels[1], channels[0], kernel, kernel];
        let weights = numbers(shape.iter().product(), seed);
        let mut conv = Conv2d::new(&weights, shape);
        let bias = numbers(channels[1], seed);
        (conv.stride, conv.padding, conv.bias) = ([stride; 2], [1; 2], Some(&bias[..]));
        let conv = AffineMap::conv2d([channels[0], size, size], &conv).unwrap();
        let mut layers = vec![Layer::affine("conv", conv.clone()), Layer::activation("square", Activation::Square)];
        let dense = |inputs: usize, outputs: usize, seed: &mut u64| {
            let weights = numbers(inputs * outputs, seed);
            AffineMap::linear(&weights, [outputs, inputs], Some(&numbers(outputs, seed))).unwrap()
        };
        let middle = if deep { 7 } else { 3 };
        let second = dense(conv.outputs(), middle, seed).reshaped(conv.output_shape(), &[middle]).unwrap();
        layers.push(Layer::affine("dense", second));
        if deep {
            layers.push(Layer::activation("square", Activation::Square));
            layers.push(Layer::affine("last", dense(middle, 3, seed)));
        }
        Network::new(&[channels[0], size, size], layers).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn slots_compute_what_the_network_does(
            size in 4usize..12,
            inputs in 1usize..4,
            outputs in 1usize..6,
            kernel in 1usize..4,
            stride in 1usize..4,
            deep: bool,
            images in prop::sample::select(vec![1usize, 2, 4]),
            mut seed: u64,
        ) {
            let network = network(size, [inputs, outputs], kernel, stride, deep, &mut seed);
            let examples = numbers(images * network.inputs(), &mut seed);
            let plan = Plan::new(&NormalForm::new(&network, &examples).unwrap(), PackedOptions { images, ..Default::default() }).unwrap();
            let answers = plan.answers(&examples, None).unwrap();
            let clear = network.evaluate(&examples).unwrap();
            let largest = clear.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
            for (answer, expected) in answers.iter().zip(&clear) {
                prop_assert!((answer - expected).abs() <= 1e-9 * largest, "{answer} {expected}");
            }
            for (answer, expected) in plan.simulate(&examples, 7).unwrap().iter().zip(&clear) {
                prop_assert!((answer - expected).abs() <= 0.01 * largest, "{answer} {expected}");
            }
        }
    }

    #[test]
    fn residual_blocks_and_cubics_run_in_slots() {
        let mut seed = 3;
        let mut conv = |name: &str| {
            let (weights, bias) = (numbers(2 * 2 * 9, &mut seed), numbers(2, &mut seed));
            let conv = Conv2d { padding: [1; 2], bias: Some(&bias), ..Conv2d::new(&weights, [2, 2, 3, 3]) };
            Layer::affine(name, AffineMap::conv2d([2, 6, 6], &conv).unwrap())
        };
        let square = Layer::activation("square", Activation::Square);
        let block = Layer::residual("block", vec![conv("first"), square, conv("second")], vec![]);
        let cubic = Layer::activation("cubic", Activation::polynomial(&[0.1, 0.5, 0.2, -0.01]).unwrap());
        let weights = numbers(3 * 72, &mut seed);
        let last = AffineMap::linear(&weights, [3, 72], None).unwrap().reshaped(&[2, 6, 6], &[3]).unwrap();
        let network = Network::new(&[2, 6, 6], vec![block, cubic, Layer::affine("last", last)]).unwrap();
        let examples = numbers(network.inputs(), &mut seed);
        let plan = Plan::new(&NormalForm::new(&network, &examples).unwrap(), PackedOptions::default()).unwrap();
        let clear = network.evaluate(&examples).unwrap();
        let largest = clear.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        for (answer, expected) in plan.simulate(&examples, 7).unwrap().iter().zip(&clear) {
            assert!((answer - expected).abs() <= 0.01 * largest, "{answer} {expected}");
        }
    }

    #[test]
    fn scales_of_a_deep_network_do_not_drift() {
        let mut seed = 5;
        let mut layers = Vec::new();
        for i in 0..14 {
            if i > 0 {
                layers.push(Layer::activation("square", Activation::Square));
            }
            let weights: Vec<f64> = numbers(16, &mut seed).iter().map(|weight| weight / 4.0).collect();
            layers.push(Layer::affine("dense", AffineMap::linear(&weights, [4, 4], Some(&[0.5; 4])).unwrap()));
        }
        let network = Network::new(&[4], layers).unwrap();
        let form = NormalForm::new(&network, &[0.1, 0.5, -0.5, 1.0]).unwrap();
        let plan = Plan::new(&form, PackedOptions::default()).unwrap();
        let scale = plan.interface.input_scale;
        let last_map = plan.steps.iter().rposition(|step| matches!(step, Step::Linear { .. })).unwrap();
        let (before, after) = (&plan.scales()[..last_map], &plan.scales()[last_map..]);
        assert!(before.iter().all(|own| (own / scale).log2().abs() < 0.1), "{before:?}");
        assert!(after.iter().all(|own| *own == plan.interface.output_scale), "{after:?}");
    }
}
