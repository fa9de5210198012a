//! A scenario fitted to an export: all numbers that the load loop needs, checked.

use std::time::Duration;

use thiserror::Error;

use crate::handshake::Export;
use crate::rng::Rng;
use crate::scenario::{FlushPolicy, Pattern, Scenario};
use crate::size::ByteSize;

/// When a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After this time.
    After(Duration),
    /// After so many operations.
    Operations(u64),
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bytes of each operation.
    pub block: u32,
    /// Number of places where an operation may go.
    pub positions: u64,
    /// Order of the places.
    pub pattern: Pattern,
    /// Share of reads in percent.
    pub read_percent: u8,
    /// Operations in flight per connection.
    pub depth: u32,
    /// Connections.
    pub connections: u32,
    /// A FLUSH ends each write.
    pub flush: bool,
    /// Writes carry FUA.
    pub fua: bool,
    /// Untimed part.
    pub warmup: Duration,
    /// End.
    pub stop: Stop,
    /// Start of the random numbers.
    pub seed: u64,
    /// Payloads are patterns, reads are compared with them.
    pub verify: bool,
    /// Each operation slot keeps to places of its own, so that no two in flight overlap.
    pub own_places: bool,
    /// Operations started per second at most.
    pub rate: Option<f64>,
}

/// Why a scenario does not fit an export.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// Writes to a read-only export.
    #[error("the export is read-only, the scenario writes")]
    ReadOnly,
    /// A request type that the server lacks.
    #[error("the server does not offer {0}, which the scenario needs")]
    Lacks(&'static str),
    /// Too few places.
    #[error("a region of {region} has no room for {slots} blocks of {block} in flight")]
    TooSmall {
        /// Bytes that may be used.
        region: ByteSize,
        /// Operations in flight.
        slots: u64,
        /// Bytes of each.
        block: ByteSize,
    },
    /// The region does not lie in the export.
    #[error("the region of {region} is larger than the export of {size}")]
    TooLarge {
        /// Bytes wanted.
        region: ByteSize,
        /// Bytes there.
        size: ByteSize,
    },
    /// Requests larger than the server takes.
    #[error("the server takes at most {max} in one request, the scenario wants {block}")]
    Block {
        /// The scenario's.
        block: ByteSize,
        /// The server's.
        max: ByteSize,
    },
}

impl Plan {
    /// Fits `scenario` to `export`.
    pub fn new(scenario: &Scenario, export: &Export) -> Result<Self, PlanError> {
        let plan = Self {
            block: u32::try_from(scenario.block_size.bytes()).unwrap_or(u32::MAX),
            positions: region(scenario, export)? / scenario.block_size.bytes(),
            pattern: scenario.pattern,
            read_percent: scenario.read_percent,
            depth: scenario.queue_depth,
            connections: scenario.connections,
            flush: scenario.flush == FlushPolicy::AfterEachWrite,
            fua: scenario.fua,
            warmup: scenario.warmup(),
            stop: Stop::After(scenario.duration()),
            seed: scenario.seed,
            verify: scenario.verify,
            own_places: scenario.verify,
            rate: scenario
                .rate
                .map(|rate| rate.bytes() as f64 / scenario.block_size.bytes() as f64),
        };
        plan.fits(export)?;
        Ok(plan)
    }

    /// A plan that writes the scenario's whole region once, in order, without timing.
    pub fn prefill(scenario: &Scenario, export: &Export) -> Result<Self, PlanError> {
        let region = region(scenario, export)?;
        let candidates = [1 << 20, 64 << 10, 4096, 512];
        let fits = |block: &u64| region.is_multiple_of(*block) && *block <= export.max_block;
        let block = candidates.into_iter().find(fits).unwrap_or(512);
        let plan = Self {
            block: u32::try_from(block).unwrap_or(512),
            positions: region / block,
            pattern: Pattern::Sequential,
            read_percent: 0,
            depth: 1.max(4.min(u32::try_from(region / block).unwrap_or(4))),
            connections: 1,
            flush: false,
            fua: false,
            warmup: Duration::ZERO,
            stop: Stop::Operations(region / block),
            seed: scenario.seed,
            verify: scenario.verify,
            own_places: false,
            rate: None,
        };
        plan.fits(export)?;
        Ok(plan)
    }

    /// All operation slots.
    #[must_use]
    pub fn slots(&self) -> u64 {
        u64::from(self.depth) * u64::from(self.connections)
    }

    /// Some operations are writes.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.read_percent < 100
    }

    fn fits(&self, export: &Export) -> Result<(), PlanError> {
        let block = u64::from(self.block);
        if self.writes() && export.read_only() {
            return Err(PlanError::ReadOnly);
        }
        if self.writes() && self.flush && !export.can_flush() {
            return Err(PlanError::Lacks("FLUSH"));
        }
        if self.writes() && self.fua && !export.can_fua() {
            return Err(PlanError::Lacks("FUA"));
        }
        if block > export.max_block {
            let (block, max) = (ByteSize::new(block), ByteSize::new(export.max_block));
            return Err(PlanError::Block { block, max });
        }
        if self.positions < self.slots() {
            return Err(PlanError::TooSmall {
                region: ByteSize::new(self.positions * block),
                slots: self.slots(),
                block: ByteSize::new(block),
            });
        }
        Ok(())
    }
}

fn region(scenario: &Scenario, export: &Export) -> Result<u64, PlanError> {
    let size = ByteSize::new(export.size);
    let region = scenario.region.unwrap_or(size);
    if region > size { Err(PlanError::TooLarge { region, size }) } else { Ok(region.bytes()) }
}

/// Chooses the place of each operation.
#[derive(Debug)]
pub struct Places {
    rng: Rng,
    /// Next step of each connection, or of each slot where slots keep to their own places.
    steps: Vec<u64>,
}

impl Places {
    /// The places of `plan`.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let walkers = if plan.own_places { plan.slots() } else { u64::from(plan.connections) };
        Self { rng: Rng::new(plan.seed), steps: vec![0; walkers as usize] }
    }

    /// The byte offset of the next operation in slot `slot` of connection `connection`.
    pub fn next(&mut self, plan: &Plan, connection: u32, slot: u32) -> u64 {
        let position = if plan.own_places {
            let walker = u64::from(connection) * u64::from(plan.depth) + u64::from(slot);
            let own = plan.positions / plan.slots();
            self.step(plan.pattern, walker, own) * plan.slots() + walker
        } else {
            match plan.pattern {
                Pattern::Random => self.rng.below(plan.positions),
                Pattern::HotCold => self.hot_or_cold(plan.positions),
                Pattern::Sequential => {
                    let own = plan.positions / u64::from(plan.connections);
                    let walker = u64::from(connection);
                    self.step(plan.pattern, walker, own) + walker * own
                }
            }
        };
        debug_assert!(position < plan.positions);
        position * u64::from(plan.block)
    }

    /// Whether the next operation is a read.
    pub fn read_next(&mut self, plan: &Plan) -> bool {
        match plan.read_percent {
            0 => false,
            100.. => true,
            percent => self.rng.below(100) < u64::from(percent),
        }
    }

    fn hot_or_cold(&mut self, positions: u64) -> u64 {
        let hot = positions.div_ceil(10);
        match self.rng.below(10) {
            0 if hot < positions => hot + self.rng.below(positions - hot),
            _ => self.rng.below(hot),
        }
    }

    fn step(&mut self, pattern: Pattern, walker: u64, own: u64) -> u64 {
        match pattern {
            Pattern::Random => self.rng.below(own),
            Pattern::HotCold => self.hot_or_cold(own),
            Pattern::Sequential => {
                let step = &mut self.steps[walker as usize];
                let here = *step;
                *step = (here + 1) % own;
                here
            }
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
