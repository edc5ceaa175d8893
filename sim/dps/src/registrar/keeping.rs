//! What an instance remembers, and how it takes it up again.

use super::{Registrar, json};
use crate::control::Control;
use crate::enrollments::{Individual, IndividualStore};
use crate::memory::{
    ControlMemory, Forgotten, IndividualMemory, RegistrationMemory, SNAPSHOT, SnapshotLine, Touched,
    unreadable,
};
use crate::registrations::Registration;
use sim_identity::Seed;

fn read_memory<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Forgotten> {
    serde_json::from_str(text).map_err(|e| unreadable(what, e))
}

fn read_snapshot(text: &str) -> Result<Vec<SnapshotLine>, Forgotten> {
    let read = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| unreadable("snapshot", format!("line {}: {e}", at + 1)))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let lines: Vec<SnapshotLine> = lines.map(read).collect::<Result<_, _>>()?;
    match lines.first() {
        Some(SnapshotLine::Schema(schema)) if schema == SNAPSHOT => Ok(lines),
        _ => Err(unreadable("snapshot", format!("its first line is not that of a {SNAPSHOT}"))),
    }
}

impl Registrar {
    /// What must be kept of something that was touched, as text; `None` where it is gone.
    pub fn memory(&self, touched: &Touched) -> Option<String> {
        match touched {
            Touched::Control => {
                Some(self.read(|control| json(&ControlMemory::of(control, self.ids.position()))))
            }
            Touched::Individual(key) => self.individuals().get(key).map(|one| json(&one.memory())),
            Touched::Registration(key) => {
                self.registrations.with(key, |r| r.map(|r| json(&r.memory(&self.config.hubs))))
            }
        }
    }

    /// Takes up what was kept.
    pub fn restore(&self, touched: &Touched, text: &str) -> Result<(), Forgotten> {
        match touched {
            Touched::Control => self.take_control(read_memory("CAs and groups", text)?),
            Touched::Individual(_) => self.take_individual(read_memory("individual enrollment", text)?),
            Touched::Registration(_) => self.take_registration(read_memory("registration", text)?),
        }
    }

    fn take_control(&self, memory: ControlMemory) -> Result<(), Forgotten> {
        self.ids.resume(memory.counter);
        let control = memory.control()?;
        self.write(|current, _| *current = control);
        Ok(())
    }

    fn take_individual(&self, memory: IndividualMemory) -> Result<(), Forgotten> {
        let individual = Individual::remember(memory)?;
        let key = individual.document.registration_id.to_ascii_lowercase();
        self.individuals_mut().insert(key, individual);
        Ok(())
    }

    fn take_registration(&self, memory: RegistrationMemory) -> Result<(), Forgotten> {
        let registration = Registration::remember(memory, &self.config.hubs, |route| self.route(route))?;
        let key = registration.id.key();
        let Ok(()) =
            self.registrations.replace(key, |_| Ok::<_, std::convert::Infallible>((registration, ())));
        Ok(())
    }

    /// Everything that is remembered, in parts of some lines of JSON each. Each part is of one moment; parts may be
    /// of different ones where devices go on registering meanwhile.
    pub fn snapshot(&self) -> impl Iterator<Item = String> {
        let line = |line: &SnapshotLine| json(line) + "\n";
        let control = self.read(|control| ControlMemory::of(control, self.ids.position()));
        let head = line(&SnapshotLine::Schema(SNAPSHOT.to_owned())) + &line(&SnapshotLine::Control(control));
        let individuals: Vec<_> = self.individuals().after(None).map(|(_, one)| one.clone()).collect();
        let individuals = individuals.into_iter();
        let individuals = individuals.map(move |one| line(&SnapshotLine::Individual(Box::new(one.memory()))));
        let registrations = self
            .registrations
            .parts(move |r| line(&SnapshotLine::Registration(Box::new(r.memory(&self.config.hubs)))));
        std::iter::once(head).chain(individuals).chain(registrations.map(|lines| lines.concat()))
    }

    /// Forgets everything but the ledger, and takes up a snapshot. Nothing changes where a line of it cannot be
    /// read; which one is in the error.
    pub fn restore_snapshot(&self, text: &str) -> Result<(), Forgotten> {
        // A trial on an instance of its own: what it refuses leaves this one as it is.
        let nothing = Seed::from_number(0);
        Registrar::new(self.config.clone(), &nothing, &nothing).take_lines(read_snapshot(text)?)?;
        self.forget();
        self.take_lines(read_snapshot(text)?)
    }

    fn take_lines(&self, lines: Vec<SnapshotLine>) -> Result<(), Forgotten> {
        lines.into_iter().try_for_each(|line| match line {
            SnapshotLine::Schema(_) => Ok(()),
            SnapshotLine::Control(memory) => self.take_control(memory),
            SnapshotLine::Individual(memory) => self.take_individual(*memory),
            SnapshotLine::Registration(memory) => self.take_registration(*memory),
        })
    }

    /// Forgets CAs, enrollments and registrations; quotas begin anew, and every hub is linked as configured. The
    /// ledger goes on counting.
    pub fn forget(&self) {
        self.link_hubs();
        self.registering.reset();
        self.operating.reset();
        self.write(|control, _| *control = Control::default());
        *self.individuals_mut() = IndividualStore::default();
        self.registrations.clear();
    }

    /// Everything there is to keep, for a file that is written anew.
    pub fn everything(&self) -> Vec<(Touched, String)> {
        let mut all = Vec::new();
        all.extend(self.memory(&Touched::Control).map(|text| (Touched::Control, text)));
        let individuals = self.individuals();
        all.extend(
            individuals.after(None).map(|(key, one)| (Touched::Individual(key.clone()), json(&one.memory()))),
        );
        drop(individuals);
        let kept = |r: &Registration| (Touched::Registration(r.id.key()), json(&r.memory(&self.config.hubs)));
        all.extend(self.registrations.parts(kept).flatten());
        all
    }
}
