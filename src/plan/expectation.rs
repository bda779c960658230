//! The largest error of an answer that is to be expected: one definition for every layout.

/// Answers, at least, whose largest error is stated; those of a batch, where that is more.
pub const ANSWERS: usize = 1000;

/// The stated error is this many times the one that a single answer of so many is expected to exceed: the largest of them varies
/// by a third or so from one set of keys and images to the next, by more the more squares a network has.
pub const MARGIN: f64 = 2.0;

/// And at least this many times the largest simulated error: where tails are heaviest, an eighth of the answers say too little.
const SEEN: f64 = 1.5;

/// The part of the simulated answers, those that err most, by which is extrapolated: an eighth of them.
const TAIL: usize = 8;

/// [`MARGIN`] times the error that one answer of `answers` ([`ANSWERS`] at least) is expected to exceed.
///
/// `differences` (`[n][outputs]`, flattened) are those of simulated answers from the exact ones, where `images` of the n images
/// are different ones. An answer errs by a polynomial, of degree k = 2^`squares` at most, in normal numbers (noise) and in its image
/// (weights are rounded). A polynomial of degree k in normal numbers is beyond x with a probability of about exp(-x^(2/k)): to the
/// power of 2/k it is an exponential number, the excess of which over any threshold has the same mean (Davison and Smith, 1990). Images
/// are bounded, and tails lighter: 3 k / 8 takes the place of k / 2 where there are squares, as it fits random networks best. The mean
/// excess is taken to be a standard deviation larger than what is seen, so that what few images say counts for less.
///
/// Zero where there is no difference at all.
pub fn expected_error(differences: &[f64], outputs: usize, images: usize, squares: u32, answers: usize) -> f64 {
    let power = 0.5f64.max(0.375 * 2f64.powi(squares as i32));
    let largest = |numbers: &[f64]| numbers.iter().fold(0.0f64, |largest, number| largest.max(number.abs()));
    let mut errors: Vec<f64> =
        differences.chunks(outputs.max(1)).map(|answer| largest(answer).powf(1.0 / power)).collect();
    if errors.is_empty() {
        return 0.0;
    }
    errors.sort_by(|a, b| b.total_cmp(a));
    let count = errors.len().div_ceil(TAIL);
    let threshold = errors.get(count).copied().unwrap_or(0.0);
    let excess = errors[..count].iter().sum::<f64>() / count as f64 - threshold;
    let independent = (images.clamp(1, errors.len()) as f64 / TAIL as f64).sqrt();
    let times = (answers.max(ANSWERS) as f64 * count as f64 / errors.len() as f64).ln();
    let expected = threshold + excess * (1.0 + 1.0 / independent) * times;
    (MARGIN * expected.powf(power)).max(SEEN * errors[0].powf(power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::noise::Gaussian;

    /// Normal numbers to some power.
    fn errors(answers: usize, power: f64, seed: u64) -> Vec<f64> {
        let mut numbers = vec![0.0; answers];
        Gaussian::new(seed).add(&mut numbers, 1.0);
        numbers.iter().map(|number| number.abs().powf(power)).collect()
    }

    #[test]
    fn the_largest_of_many_is_seldom_beyond_and_never_far_below() {
        for (squares, power) in [(0, 1.0), (1, 1.5), (2, 3.0)] {
            for answers in [1000, 16384] {
                let ratios: Vec<f64> = (0..50)
                    .map(|seed| {
                        let stated = expected_error(&errors(512, power, 100 + seed), 1, 512, squares, answers);
                        stated / errors(answers, power, seed).into_iter().fold(0.0, f64::max)
                    })
                    .collect();
                let beyond = ratios.iter().filter(|ratio| **ratio < 1.0).count();
                assert!(beyond <= 3 && ratios.iter().all(|ratio| *ratio < 5.0), "{squares} {answers} {ratios:?}");
            }
        }
    }

    #[test]
    fn what_was_seen_counts_however_rare() {
        let seen: Vec<f64> = [50.0].into_iter().chain(errors(511, 1.0, 3)).collect();
        assert_eq!(expected_error(&seen, 1, 512, 0, 1000), SEEN * 50.0);
    }

    #[test]
    fn fewer_images_state_more() {
        let seen = errors(512, 2.0, 1);
        let stated = |images| expected_error(&seen, 1, images, 1, 1000);
        assert!(stated(1) > stated(16) && stated(16) > stated(512));
    }

    #[test]
    fn the_largest_number_of_an_answer_counts_whatever_its_sign() {
        let numbers: Vec<f64> = errors(512, 1.0, 3).into_iter().flat_map(|error| [0.0, -error, 0.1 * error]).collect();
        assert_eq!(expected_error(&numbers, 3, 512, 0, 1000), expected_error(&errors(512, 1.0, 3), 1, 512, 0, 1000));
    }

    #[test]
    fn nothing_errs_where_nothing_differs() {
        assert_eq!(expected_error(&[], 3, 0, 1, 1000), 0.0);
        assert_eq!(expected_error(&[0.0; 6], 3, 2, 1, 1000), 0.0);
        assert!(expected_error(&[1.0], 1, 1, 1, 1000) > 2.0);
    }
}
