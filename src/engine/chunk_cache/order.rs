//! Slots in the order of their last use.

/// No slot.
const NONE: u32 = u32::MAX;

/// A list of slots, the one that was used last in front. Each slot is in it at most once.
#[derive(Default)]
pub(super) struct Order {
    links: Vec<Link>,
    first: Option<u32>,
    last: Option<u32>,
}

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    behind: u32,
}

fn slot(link: u32) -> Option<u32> {
    (link != NONE).then_some(link)
}

impl Order {
    /// Takes a new slot in, to be used first when one is wanted.
    pub(super) fn add_last(&mut self, new: u32) {
        assert_eq!(self.links.len(), new as usize, "slots are counted without gaps");
        self.links.push(Link { before: NONE, behind: NONE });
        self.link_last(new);
    }

    /// The slot was used just now.
    pub(super) fn put_first(&mut self, used: u32) {
        self.unlink(used);
        let link = Link { before: NONE, behind: self.first.unwrap_or(NONE) };
        match self.first {
            Some(first) => self.links[first as usize].before = used,
            None => self.last = Some(used),
        }
        self.links[used as usize] = link;
        self.first = Some(used);
    }

    /// The slot has nothing worth keeping.
    pub(super) fn put_last(&mut self, useless: u32) {
        self.unlink(useless);
        self.link_last(useless);
    }

    /// Slots from the one that was not used for longest on.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.last, |at| slot(self.links[*at as usize].before))
    }

    fn link_last(&mut self, new: u32) {
        self.links[new as usize] = Link { before: self.last.unwrap_or(NONE), behind: NONE };
        match self.last {
            Some(last) => self.links[last as usize].behind = new,
            None => self.first = Some(new),
        }
        self.last = Some(new);
    }

    fn unlink(&mut self, gone: u32) {
        let Link { before, behind } = self.links[gone as usize];
        match slot(before) {
            Some(before) => self.links[before as usize].behind = behind,
            None => self.first = slot(behind),
        }
        match slot(behind) {
            Some(behind) => self.links[behind as usize].before = before,
            None => self.last = slot(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a plain list after each of many steps.
    #[test]
    fn the_order_is_that_of_a_plain_list() {
        let (mut order, mut list) = (Order::default(), Vec::new());
        let mut number: u32 = 1;
        for step in 0..2000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if step < 7 {
                order.add_last(step);
                list.push(step);
            } else {
                let slot = (number >> 16) % 7;
                list.retain(|other| *other != slot);
                if number >> 31 == 0 {
                    order.put_first(slot);
                    list.insert(0, slot);
                } else {
                    order.put_last(slot);
                    list.push(slot);
                }
            }
            let oldest_first: Vec<_> = order.oldest_first().collect();
            assert!(oldest_first.iter().eq(list.iter().rev()), "{oldest_first:?} {list:?}");
        }
    }
}
