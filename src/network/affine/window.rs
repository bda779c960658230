//! Sliding windows, as convolutions and pooling move them.

use super::pooling::Span;
use crate::error::{Error, Result};

/// One axis along which a window slides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) dilation: usize,
}

impl Axis {
    /// How often the window fits: `(input + 2 padding - dilation (kernel - 1) - 1) / stride + 1`.
    pub(super) fn positions(&self, operation: &'static str) -> Result<usize> {
        for (name, value) in [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)] {
            if value == 0 {
                return Err(Error::InvalidArgument { name, reason: format!("{operation} needs at least 1, got 0") });
            }
        }
        let padded = self.padding.checked_mul(2).and_then(|both| both.checked_add(self.input));
        let span = (self.kernel - 1).checked_mul(self.dilation).and_then(|reach| reach.checked_add(1));
        match (padded, span) {
            (Some(padded), Some(span)) if span <= padded => Ok((padded - span) / self.stride + 1),
            (None, _) => {
                Err(Error::InvalidArgument { name: "padding", reason: format!("{} is too large", self.padding) })
            }
            _ => Err(Error::ShapeMismatch {
                operation,
                expected: format!(
                    "an input whose length, with {0} of padding on both sides, reaches the kernel's ({1}, dilation {2})",
                    self.padding, self.kernel, self.dilation
                ),
                got: vec![self.input],
            }),
        }
    }

    /// The window's taps that fall on the input at one position, as (place in the kernel, place in the input).
    pub(super) fn taps(self, position: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.kernel).filter_map(move |tap| {
            let index = (position * self.stride + tap * self.dilation).checked_sub(self.padding)?;
            (index < self.input).then_some((tap, index))
        })
    }

    /// What the window sees of the input at its first `positions`, of a mean in which padded zeros count.
    ///
    /// For windows without dilation.
    pub(super) fn spans(&self, positions: usize) -> Vec<Span> {
        let clip = |place: usize| place.saturating_sub(self.padding).min(self.input);
        let span = |start: usize| Span { start: clip(start), end: clip(start + self.kernel), divisor: self.kernel };
        (0..positions).map(|position| span(position * self.stride)).collect()
    }

    /// The most taps that can fall on the input at once.
    pub(super) fn max_taps(&self) -> usize {
        self.kernel.min(self.input)
    }
}
