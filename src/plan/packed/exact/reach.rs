//! Why no ring has room for the integers of a network, and what would fit.

use super::modulus;
use super::noise::Terms;
use super::plan::ExactOptions;
use super::quantised::Quantised;
use crate::error::{Error, Needs, OutOfReach};
use crate::plan::NormalForm;
use crate::plan::packed::placement::Slots;
use crate::plan::packed::plan::{DEGREES, steps, typical};
use crate::plan::packed::reach::too_wide;
use crate::plan::packed::search::search;
use crate::scheme::security;

/// That no ring has room for a network, whose integers are these where they were found.
pub(super) fn out_of_reach(
    network: &NormalForm,
    images: &[f64],
    integers: Option<&Quantised>,
    options: ExactOptions,
) -> Error {
    let degree = DEGREES[DEGREES.len() - 1];
    let slots = Slots { count: degree / 2 / options.images, cyclic: options.images == 1 };
    let maps = network.maps().len();
    let terms: Vec<Terms> = match search(network.maps(), slots, 2 * maps, typical(degree)) {
        Ok(chain) => steps(&chain, degree / 2, options.images).iter().map(Terms::from).collect(),
        Err(map) => return too_wide(network, map, options.images),
    };
    let fits = |maps: usize, precision: u32| {
        let part = first(network, maps)?;
        let integers = Quantised::new(&part, images, precision).ok()?;
        let choices = modulus::choices(degree, before_square(&terms, maps), integers.bound, options.security).ok()?;
        (!choices.is_empty()).then_some(())
    };
    let fitting_maps = (1..maps).rev().find(|&fewer| fits(fewer, options.precision).is_some()).unwrap_or(0);
    let needs = Needs {
        maps,
        precision: options.precision,
        degree,
        layer: network.layers()[fitting_maps].clone(),
        fitting_maps,
        fitting_precision: (1..options.precision).rev().find(|&precision| fits(maps, precision).is_some()),
    };
    let needed = integers.and_then(|found| modulus::needed_bits(degree, &terms, found.bound));
    Error::OutOfReach(Box::new(OutOfReach::Long {
        needs,
        integers: integers.map(|found| found.bound.log2().ceil() as u32 + 1),
        longest: modulus::LONGEST_BITS,
        needed: needed.map(|(bits, _)| bits),
        limit: security::limit(degree, options.security).unwrap_or(0),
        security: options.security,
    }))
}

/// The network up to its first so many maps.
fn first(network: &NormalForm, maps: usize) -> Option<NormalForm> {
    let cuts = if maps < network.maps().len() { vec![maps] } else { Vec::new() };
    network.split(&cuts).ok()?.into_iter().next()
}

/// What comes before square number `square`, from 1, or all where there are fewer.
fn before_square(terms: &[Terms], square: usize) -> &[Terms] {
    let squares = terms.iter().enumerate().filter(|(_, term)| **term == Terms::Square);
    let end = squares.map(|(at, _)| at).nth(square - 1).unwrap_or(terms.len());
    &terms[..end]
}
