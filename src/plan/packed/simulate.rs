//! What a packed program would answer, in clear: its steps on vectors of slots, with the noise that encryption would add.

use super::plan::{Plan, Step};
use crate::error::Result;
use crate::plan::noise::Gaussian;

/// Deviation of a coefficient of fresh noise: SEAL's clipped normal, and the rounding of the encoding.
const FRESH: f64 = 3.2;

impl Plan {
    /// The slots after every step, with noise drawn from `noise` (none: exact arithmetic).
    pub fn trace_slots(&self, slots: Vec<f64>, noise: Option<&mut Noise>) -> Vec<Vec<f64>> {
        let mut noise = noise;
        let n = slots.len();
        let (mut scale, mut trace, mut values) = (self.interface.input_scale, Vec::new(), slots);
        if let Some(noise) = noise.as_deref_mut() {
            noise.gaussian.add(&mut values, FRESH * noise.slot / scale);
        }
        for ((step, level), next) in self.steps.iter().zip(self.levels()).zip(self.scales()) {
            let deviations = noise.as_deref().map(|noise| noise.of_step(self, step, &values, level, scale, next));
            values = match step {
                Step::Sum { rotations } => {
                    let rotated = |i: usize| rotations.iter().map(|rotation| values[(i + rotation) % n]).sum();
                    (0..n).map(rotated).collect()
                }
                Step::Linear { groups, bias } => {
                    let mut out = vec![0.0; n];
                    for group in groups {
                        for (baby, entries) in &group.diagonals {
                            for entry in entries {
                                let at = entry.slot as usize;
                                out[(at + n - group.giant) % n] += entry.weight * values[(at + baby) % n];
                            }
                        }
                    }
                    bias.iter().for_each(|entry| out[entry.slot as usize] += entry.weight);
                    out
                }
                Step::Square => values.iter().map(|value| value * value).collect(),
            };
            if let (Some(noise), Some(deviations)) = (noise.as_deref_mut(), deviations) {
                noise.add(&mut values, deviations);
            }
            scale = next;
            trace.push(values.clone());
        }
        trace
    }

    /// Answers to images (`[n][inputs]`, flattened) as decryption would give them, noise included.
    ///
    /// # Errors
    /// As [`Interface::slots_of`](super::Interface::slots_of), for each group of images that share a ciphertext.
    pub fn simulate(&self, images: &[f64], seed: u64) -> Result<Vec<f64>> {
        let inputs = self.interface.arrangement.input.len();
        let mut noise = Noise::new(self, seed);
        let mut answers = Vec::new();
        for group in images.chunks(inputs * self.interface.arrangement.images) {
            let trace = self.trace_slots(self.interface.slots_of(group)?, Some(&mut noise));
            let slots = trace.last().map_or(&[][..], Vec::as_slice);
            answers.extend(self.interface.answers_in(slots, group.len() / inputs));
        }
        Ok(answers)
    }
}

/// A source of Gaussian noise with the deviations of CKKS's operations.
pub struct Noise {
    gaussian: Gaussian,
    /// from the deviation of coefficients to that of the real part of a slot: sqrt(N / 2)
    slot: f64,
    /// of the coefficients of a division's rounding error: sqrt((1 + 2N/3) / 12)
    rounding: f64,
    /// |s|^2 in each slot, over its mean
    secret: Vec<f64>,
}

/// Deviations of the noise of a step, in units of values.
struct Deviations {
    /// the same in all slots
    even: f64,
    /// of what is multiplied by the secret: its mean over the slots
    by_secret: f64,
}

impl Noise {
    /// Noise for the ring of a plan.
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let slots = plan.interface.arrangement.parameters.degree() / 2;
        let degree = 2.0 * slots as f64;
        let mut gaussian = Gaussian::new(seed);
        let secret = (0..slots).map(|_| gaussian.secret_square()).collect();
        let rounding = ((1.0 + 2.0 * degree / 3.0) / 12.0).sqrt();
        Self { gaussian, slot: (degree / 2.0).sqrt(), rounding, secret }
    }

    fn add(&mut self, values: &mut [f64], Deviations { even, by_secret }: Deviations) {
        for (value, secret) in values.iter_mut().zip(&self.secret) {
            self.gaussian.add(std::slice::from_mut(value), (even.powi(2) + by_secret.powi(2) * secret).sqrt());
        }
    }

    /// The deviations that a step adds to each slot, in units of values.
    fn of_step(&self, plan: &Plan, step: &Step, values: &[f64], level: usize, scale: f64, next: f64) -> Deviations {
        let parameters = &plan.interface.arrangement.parameters;
        let degree = parameters.degree() as f64;
        let special = parameters.moduli().last().map_or(1.0, |&p| p as f64);
        // Digits are uniform and balanced; each is multiplied by fresh noise and divided by the special prime.
        let squares: f64 = parameters.moduli()[..level].iter().map(|&q| (q as f64).powi(2)).sum();
        let switching = (squares * degree / 12.0).sqrt() * FRESH / special;
        let rounding = self.rounding * self.slot / next;
        match step {
            Step::Sum { rotations } => {
                let switched = rotations.iter().filter(|&&rotation| rotation != 0).count() as f64;
                Deviations { even: switched.sqrt() * switching * self.slot / scale, by_secret: rounding }
            }
            Step::Square => Deviations { even: 0.0, by_secret: rounding },
            Step::Linear { groups, .. } => {
                let diagonals: usize = groups.iter().map(|group| group.diagonals.len()).sum();
                let (mut weights, mut used) = (0.0f64, 0usize);
                for (baby, entries) in groups.iter().flat_map(|group| &group.diagonals) {
                    if *baby != 0 {
                        weights += entries.iter().map(|entry| entry.weight.powi(2)).sum::<f64>();
                    }
                    used = used.max(entries.len());
                }
                let row = weights / used.max(1) as f64;
                let rotations = switching * self.slot / scale * row.sqrt();
                // Encoding rounds the coefficients of every diagonal, at about the scale of the prime that is divided by.
                // An answer meets the slots that hold values, so they count, each by its square, and empty ones do not.
                let moment = |power: i32| values.iter().map(|x| x.powi(power)).sum::<f64>();
                let mean_square = moment(4) / moment(2).max(f64::MIN_POSITIVE);
                let encoding_scale = parameters.moduli()[level - 1] as f64 * next / scale;
                let encoding = (diagonals as f64 * mean_square / 12.0).sqrt() * self.slot / encoding_scale;
                Deviations { even: rotations.hypot(encoding), by_secret: rounding }
            }
        }
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
            let trace = plan.trace_slots(plan.interface.slots_of(&examples).unwrap(), None);
            let answers = plan.interface.answers_in(trace.last().unwrap(), images);
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
