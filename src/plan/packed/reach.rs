//! Why no ring has room for a network, and what would fit.

use std::cell::OnceCell;

use super::modulus::{Least, MOST_BITS};
use super::placement::Slots;
use super::plan::{DEGREES, PackedOptions, typical};
use super::search::search;
use crate::error::{Error, Needs, OutOfReach};
use crate::network::AffineMap;
use crate::plan::NormalForm;
use crate::scheme::security;

/// The number of the largest ring.
const LARGEST: usize = DEGREES.len() - 1;

/// What the rings have for a network, by their number in [`DEGREES`].
struct Rings<'a> {
    network: &'a NormalForm,
    options: PackedOptions,
    /// how many maps, from the first, find a placement: where it was asked for
    placed: [OnceCell<usize>; DEGREES.len()],
}

impl Rings<'_> {
    fn placed(&self, ring: usize) -> usize {
        *self.placed[ring].get_or_init(|| {
            let (degree, maps) = (DEGREES[ring], self.network.maps());
            let slots = Slots { count: degree / 2 / self.options.images, cyclic: self.options.images == 1 };
            search(maps, slots, 2 * maps.len(), typical(degree)).map_or_else(|placed| placed, |_| maps.len())
        })
    }

    fn limit(&self, ring: usize) -> u32 {
        security::limit(DEGREES[ring], self.options.security).unwrap_or(0)
    }

    /// Whether modulus and slots have room for the first so many maps.
    fn has_room(&self, ring: usize, maps: usize, precision: u32) -> bool {
        least(ring, maps, precision).modulus <= self.limit(ring) && self.placed(ring) >= maps
    }

    /// Whether the first so many maps can be compiled.
    fn fits(&self, maps: usize, precision: u32) -> bool {
        (0..=LARGEST).any(|ring| least(ring, maps, precision).is_narrow() && self.has_room(ring, maps, precision))
    }
}

fn least(ring: usize, maps: usize, precision: u32) -> Least {
    Least::new(DEGREES[ring], 2 * maps - 1, precision)
}

/// That no ring has room for a network: what of it has none, at the first map for which there is none.
pub(super) fn out_of_reach(network: &NormalForm, options: PackedOptions) -> Error {
    let rings = Rings { network, options, placed: Default::default() };
    let (maps, precision) = (network.maps().len(), options.precision);
    // No precision makes room for a tensor.
    if rings.placed(LARGEST) < maps {
        return too_wide(network, rings.placed(LARGEST), options.images);
    }
    let fitting_maps = (1..maps).rev().find(|&fewer| rings.fits(fewer, precision)).unwrap_or(0);
    let ring = (0..=LARGEST).find(|&ring| rings.has_room(ring, fitting_maps + 1, precision));
    let needs = Needs {
        maps,
        precision,
        degree: DEGREES[ring.unwrap_or(LARGEST)],
        layer: network.layers()[fitting_maps].clone(),
        fitting_maps,
        fitting_precision: (1..precision).rev().find(|&bits| rings.fits(maps, bits)),
    };
    let reason = match ring {
        Some(ring) => {
            let Least { scale, prime, .. } = least(ring, fitting_maps + 1, precision);
            OutOfReach::Fine { needs, scale, prime, widest: MOST_BITS }
        }
        None => {
            let Least { scale, modulus, .. } = least(LARGEST, maps, precision);
            let (limit, security) = (rings.limit(LARGEST), options.security);
            OutOfReach::Deep { needs, needed: modulus, each: scale, limit, security }
        }
    };
    Error::OutOfReach(Box::new(reason))
}

/// That a row of the largest ring has too few slots for a map, by its number, and `images` images.
pub(super) fn too_wide(network: &NormalForm, map: usize, images: usize) -> Error {
    let degree = DEGREES[LARGEST];
    let slots = degree / 2 / images;
    let (layer, map): (_, &AffineMap) = (network.layers()[map].clone(), &network.maps()[map]);
    let (inputs, outputs) = (map.inputs(), map.outputs());
    let times = inputs.max(outputs).div_ceil(slots).max(2);
    Error::OutOfReach(Box::new(OutOfReach::Wide { layer, inputs, outputs, degree, slots, images, times }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Layer, Network};
    use crate::plan::packed::Plan;

    /// Maps from one number of values to the next, named by their number, with squares between them.
    fn form(values: &[usize]) -> NormalForm {
        let layers = values.windows(2).enumerate().flat_map(|(i, pair)| {
            let weights: Vec<f64> = (0..pair[0] * pair[1]).map(|k| (k as f64 * 0.7).sin() / pair[0] as f64).collect();
            let map = AffineMap::linear(&weights, [pair[1], pair[0]], None).unwrap();
            let square = (i > 0).then(|| Layer::activation("square", Activation::Square));
            square.into_iter().chain([Layer::affine(i.to_string(), map)])
        });
        let network = Network::new(&values[..1], layers.collect()).unwrap();
        NormalForm::new(&network, &vec![0.5; values[0]]).unwrap()
    }

    fn refused(values: &[usize], options: PackedOptions) -> OutOfReach {
        match Plan::new(&form(values), options) {
            Err(Error::OutOfReach(reason)) => *reason,
            other => panic!("{:?}", other.map(|plan| plan.interface)),
        }
    }

    fn options(precision: u32, security: u32) -> PackedOptions {
        PackedOptions { precision, security, images: 1 }
    }

    #[test]
    fn primes_that_are_too_narrow_are_told_from_a_modulus_that_is_too_short() {
        // Four maps need 412 bits of the 462 of the largest ring, but not even one has primes.
        let OutOfReach::Fine { needs, scale: 43, prime: 53, widest: 49 } = refused(&[4; 5], options(28, 256)) else {
            panic!("the primes are too narrow")
        };
        assert_eq!((needs.fitting_maps, needs.fitting_precision, &*needs.layer), (0, Some(23), "0"));
        assert_eq!(needs.degree, 16384);
        // The smaller ring, where primes are wide enough, has room for four maps.
        let OutOfReach::Fine { needs, prime: 50, .. } = refused(&[4; 14], options(24, 128)) else {
            panic!("the primes of the larger ring are too narrow")
        };
        assert_eq!((needs.fitting_maps, needs.degree, &*needs.layer), (4, 32768, "4"));
        let OutOfReach::Deep { needs, needed, limit: 868, .. } = refused(&[4; 14], options(20, 128)) else {
            panic!("the modulus is too short")
        };
        assert!(needed > 868);
        assert_eq!((needs.fitting_maps, needs.fitting_precision, &*needs.layer), (11, Some(15), "11"));
    }

    #[test]
    fn tensors_that_only_a_ring_with_narrow_primes_can_hold_are_not_too_wide() {
        let OutOfReach::Fine { needs, .. } = refused(&[4, 9000, 2], options(24, 128)) else {
            panic!("the largest ring has slots for 9,000 values")
        };
        assert_eq!((needs.degree, needs.fitting_maps, needs.fitting_precision), (32768, 0, Some(23)));
        let expected = OutOfReach::Wide {
            layer: "1".into(),
            inputs: 2,
            outputs: 17_000,
            degree: 32768,
            slots: 16384,
            images: 1,
            times: 2,
        };
        assert_eq!(refused(&[4, 2, 17_000], options(28, 128)), expected);
    }

    #[test]
    fn few_primes_near_the_degree_make_levels_longer() {
        // Of primes of 23 bits N = 32768 has 18, and 35 are needed.
        let OutOfReach::Deep { needs, each, needed, limit: 868, .. } = refused(&[2; 19], options(1, 128)) else {
            panic!("the modulus is too short")
        };
        assert!(each > 23 && needed > 868);
        assert!(Plan::new(&form(&vec![2; needs.fitting_maps + 1]), options(1, 128)).is_ok());
    }
}
