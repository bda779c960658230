//! What programs take, as dictionaries.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::work;
use crate::encryption::transport::{polynomial_bytes, public_key_bytes};
use crate::plan::batched::BatchedProgram;
use crate::plan::packed::PackedProgram;
use crate::plan::packed::exact::ExactProgram;
use crate::plan::packed::explain::StepReport;
use crate::program::{Layout, PerValue};

/// Keys, bytes, memory and seconds of a program, and the same of each step.
pub fn report<'py>(py: Python<'py>, layout: &Layout) -> PyResult<Bound<'py, PyDict>> {
    match layout {
        Layout::Packed(program) => packed(py, program),
        Layout::Exact(program) => exact(py, program),
        Layout::Batched(program) => batched(py, program),
        Layout::PerValue(own) => per_value(py, own),
    }
}

fn packed<'py>(py: Python<'py>, program: &PackedProgram) -> PyResult<Bound<'py, PyDict>> {
    let plan = program.plan();
    let explanation = work::run(py, 1, |_| plan.explain())?;
    let steps = PyList::empty(py);
    for step in &explanation.steps {
        let row = rotated(py, step)?;
        row.set_item("scale_bits", step.scale_bits)?;
        steps.append(row)?;
    }
    let bytes = [explanation.key_bytes, explanation.bytes_up, explanation.bytes_down, explanation.memory];
    let report = costs(py, bytes, explanation.seconds, steps)?;
    report.set_item("input_scale_bits", plan.interface.input_scale.log2())?;
    report.set_item("input_layout", plan.tensors.first().map(|tensor| &tensor.layout))?;
    report.set_item("keys", explanation.keys)?;
    Ok(report)
}

fn exact<'py>(py: Python<'py>, program: &ExactProgram) -> PyResult<Bound<'py, PyDict>> {
    let plan = program.plan();
    let explanation = py.detach(|| plan.explain())?;
    let steps = PyList::empty(py);
    for (step, &budget) in explanation.steps.iter().zip(&explanation.budgets) {
        let row = rotated(py, step)?;
        row.set_item("noise_budget", budget)?;
        steps.append(row)?;
    }
    let bytes = [explanation.key_bytes, explanation.bytes_up, explanation.bytes_down, explanation.memory];
    let report = costs(py, bytes, explanation.seconds, steps)?;
    report.set_item("plain_moduli", &plan.interface.plain_moduli)?;
    report.set_item("input_scale_bits", plan.interface.input_scale.log2())?;
    report.set_item("input_layout", plan.tensors.first().map(|tensor| &tensor.layout))?;
    report.set_item("fresh_noise_budget", explanation.ends[0])?;
    report.set_item("reply_noise_budget", explanation.ends[1])?;
    report.set_item("reply_primes", plan.interface.reply)?;
    report.set_item("keys", explanation.keys)?;
    Ok(report)
}

fn batched<'py>(py: Python<'py>, program: &BatchedProgram) -> PyResult<Bound<'py, PyDict>> {
    let explanation = work::run(py, 1, |_| program.explain())?;
    let steps = PyList::empty(py);
    for step in &explanation.steps {
        let row = PyDict::new(py);
        row.set_item("kind", &step.kind)?;
        row.set_item("layers", &step.layers)?;
        row.set_item("primes", step.primes)?;
        row.set_item("weights", step.weights)?;
        steps.append(row)?;
    }
    let bytes = [explanation.key_bytes, explanation.bytes_up, explanation.bytes_down, explanation.memory];
    let report = costs(py, bytes, explanation.seconds, steps)?;
    report.set_item("input_scale_bits", program.interface().input_scale.log2())?;
    report.set_item("input_layout", "one value a ciphertext, one image a slot")?;
    Ok(report)
}

fn per_value<'py>(py: Python<'py>, own: &PerValue) -> PyResult<Bound<'py, PyDict>> {
    let seconds = work::run(py, 1, |_| own.seconds())?;
    let parameters = &own.interface.parameters;
    let polynomial = polynomial_bytes(parameters, parameters.data_moduli().len());
    let outputs: usize = own.interface.output_shape.iter().product();
    let bytes_up = own.program.inputs() * polynomial;
    let steps = PyList::empty(py);
    for name in own.program.step_names() {
        let row = PyDict::new(py);
        row.set_item("kind", name)?;
        steps.append(row)?;
    }
    let bytes_down = outputs * ((1 << own.program.squares()) + 1) * polynomial;
    let memory = 2 * bytes_up + 8 * own.program.largest_words();
    let report = costs(py, [public_key_bytes(parameters), bytes_up, bytes_down, memory], seconds, steps)?;
    report.set_item("plain_moduli", [parameters.plain_modulus()])?;
    report.set_item("mask_bits", own.program.mask_bits())?;
    Ok(report)
}

/// What every layout says: bytes of the key set, of images, of answers and of memory, seconds, and the steps.
fn costs<'py>(
    py: Python<'py>,
    [keys, up, down, memory]: [usize; 4],
    seconds: f64,
    steps: Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyDict>> {
    let report = PyDict::new(py);
    report.set_item("key_bytes", keys)?;
    report.set_item("bytes_up", up)?;
    report.set_item("bytes_down", down)?;
    report.set_item("memory_bytes", memory)?;
    report.set_item("seconds", seconds)?;
    report.set_item("steps", steps)?;
    Ok(report)
}

/// A step of a packed plan.
fn rotated<'py>(py: Python<'py>, step: &StepReport) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("kind", &step.kind)?;
    row.set_item("layers", &step.layers)?;
    row.set_item("layout", &step.layout)?;
    row.set_item("primes", step.primes)?;
    row.set_item("weights", step.weights)?;
    row.set_item("diagonals", step.diagonals)?;
    row.set_item("hoisted_rotations", step.hoisted)?;
    row.set_item("giant_rotations", step.giants)?;
    row.set_item("seconds", step.seconds)?;
    Ok(row)
}
