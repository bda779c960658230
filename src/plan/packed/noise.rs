//! The noise that the steps of a packed CKKS program add to its slots.

use super::plan::{Plan, Step};
use crate::plan::noise::Gaussian;

/// Deviation of a coefficient of fresh noise: SEAL's clipped normal, and the rounding of the encoding.
const FRESH: f64 = 3.2;

/// Deviations of the noise of a plan, in units of the values in its slots.
pub struct NoiseModel {
    slots: usize,
    /// of fresh ciphertexts
    fresh: f64,
    steps: Vec<StepNoise>,
}

/// Deviations of the noise of a step, in units of values.
struct StepNoise {
    /// of switching keys
    switching: f64,
    /// of rounding the coefficients of diagonals, for values of magnitude 1
    encoding: f64,
    /// of dividing by a prime, in the mean over the slots: most of it is multiplied by the secret
    rounding: f64,
}

/// Deviations that a step adds to each slot.
pub struct Deviations {
    /// the same in all slots
    even: f64,
    /// of what is multiplied by the secret: its mean over the slots
    by_secret: f64,
}

/// A source of noise under one key.
pub struct Noise<'a> {
    model: &'a NoiseModel,
    gaussian: Gaussian,
    /// |s|^2 in each slot, over its mean
    secret: Vec<f64>,
}

impl NoiseModel {
    /// The noise of a plan.
    pub fn new(plan: &Plan) -> Self {
        let parameters = &plan.interface.arrangement.parameters;
        let degree = parameters.degree() as f64;
        let special = parameters.moduli().last().map_or(1.0, |&p| p as f64);
        // From the deviation of coefficients to that of the real part of a slot.
        let slot = (degree / 2.0).sqrt();
        // Divisions round the coefficients of both polynomials, and the second is multiplied by the secret.
        let rounded = ((1.0 + 2.0 * degree / 3.0) / 12.0).sqrt();
        let mut scale = plan.interface.input_scale;
        let fresh = FRESH * slot / scale;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for ((step, level), next) in plan.steps.iter().zip(plan.levels()).zip(plan.scales()) {
            // Digits are uniform and balanced; each is multiplied by fresh noise and divided by the special prime.
            let squares: f64 = parameters.moduli()[..level].iter().map(|&q| (q as f64).powi(2)).sum();
            let switching = (squares * degree / 12.0).sqrt() * FRESH / special * slot / scale;
            let rounding = rounded * slot / next;
            steps.push(match step {
                Step::Sum { rotations } => {
                    let switched = rotations.iter().filter(|&&rotation| rotation != 0).count() as f64;
                    StepNoise { switching: switched.sqrt() * switching, encoding: 0.0, rounding }
                }
                Step::Square => StepNoise { switching: 0.0, encoding: 0.0, rounding },
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
                    // Encoding rounds the coefficients of every diagonal, at about the scale of the prime that is divided by.
                    let encoding_scale = parameters.moduli()[level - 1] as f64 * next / scale;
                    let encoding = (diagonals as f64 / 12.0).sqrt() * slot / encoding_scale;
                    StepNoise { switching: switching * row.sqrt(), encoding, rounding }
                }
            });
            scale = next;
        }
        Self { slots: degree as usize / 2, fresh, steps }
    }

    /// Noise under the key that a seed stands for.
    pub fn of_key(&self, seed: u64) -> Noise<'_> {
        let mut gaussian = Gaussian::new(seed);
        let secret = (0..self.slots).map(|_| gaussian.secret_square()).collect();
        Noise { model: self, gaussian, secret }
    }
}

impl Noise<'_> {
    /// Adds the noise of encryption.
    pub fn encrypt(&mut self, values: &mut [f64]) {
        self.gaussian.add(values, self.model.fresh);
    }

    /// The deviations of a step, by its number and its input.
    pub fn of_step(&self, step: usize, values: &[f64]) -> Deviations {
        let StepNoise { switching, encoding, rounding } = self.model.steps[step];
        // An answer meets the slots that hold values, so they count, each by its square, and empty ones do not.
        let (mut second, mut fourth) = (0.0, 0.0);
        for square in values.iter().map(|x| x * x) {
            second += square;
            fourth += square * square;
        }
        let mean_square: f64 = fourth / second.max(f64::MIN_POSITIVE);
        Deviations { even: switching.hypot(encoding * mean_square.sqrt()), by_secret: rounding }
    }

    /// Adds the noise of a step to its output.
    pub fn add(&mut self, values: &mut [f64], Deviations { even, by_secret }: Deviations) {
        for (value, secret) in values.iter_mut().zip(&self.secret) {
            self.gaussian.add(std::slice::from_mut(value), (even.powi(2) + by_secret.powi(2) * secret).sqrt());
        }
    }
}
