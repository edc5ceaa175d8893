//! Attempts put together again from what was written down about them.

use crate::phases::{Phase, Phases};
use std::time::Duration;

/// What [`Phases::each`] tells, in its order, makes the same phases again.
impl FromIterator<(Phase, Duration)> for Phases {
    fn from_iter<I: IntoIterator<Item = (Phase, Duration)>>(each: I) -> Self {
        let mut phases = Phases::default();
        each.into_iter().for_each(|(phase, took)| phases.note(phase, took));
        phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_made_again_from_what_they_tell() {
        let ms = Duration::from_millis;
        let told = [
            (Phase::Tcp, ms(1)),
            (Phase::Wait, ms(8)),
            (Phase::Poll, ms(0)),
            (Phase::Tcp, ms(4)),
            (Phase::Poll, ms(7)),
        ];
        let phases: Phases = told.into_iter().collect();
        assert_eq!(phases.each().collect::<Vec<_>>(), told);
        assert_eq!(phases.each().collect::<Phases>().each().collect::<Vec<_>>(), told);
    }
}
