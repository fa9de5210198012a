use super::*;
use crate::engine::mesh::CoreId;
use crate::sim::executor::Budget;

const BUDGET: Budget = Budget { steps: 100_000, span: Duration::from_secs(600) };

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a good name")
}

struct Bench {
    executor: Executor,
    bucket: Bucket,
    process: ProcessId,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let executor = Executor::new(seed, false);
        let bucket = Bucket::new(&executor, seed);
        let process = executor.start_process();
        Self { executor, bucket, process }
    }

    fn block_on<T: 'static, F>(&self, work: impl FnOnce(SimStore) -> F) -> T
    where
        F: Future<Output = T> + 'static,
    {
        let future = work(self.bucket.attach(self.process));
        self.executor.block_on(self.process, BUDGET, future).expect("the store answers")
    }
}

#[test]
fn the_store_keeps_the_promises_of_the_seam() {
    let bench = Bench::new(1);
    bench.block_on(|store| async move {
        store.put(&name("a/1"), vec![1; 10]).await.expect("no fault");
        store.put(&name("a/1"), vec![2; 12]).await.expect("replaced");
        store.put_if_absent(&name("a/2"), vec![3]).await.expect("free");
        let lost = store.put_if_absent(&name("a/2"), vec![4]).await;
        assert!(matches!(lost, Err(StoreError::Exists { .. })));
        store.put(&name("b"), vec![]).await.expect("no fault");
        assert_eq!(store.get_range(&name("a/1"), 3..5).await.expect("there"), [2, 2]);
        let past = store.get_range(&name("a/1"), 3..13).await;
        assert!(matches!(past, Err(StoreError::Range { len: 12, .. })));
        assert_eq!(store.head(&name("a/2")).await.expect("there"), 1);
        let listed = store.list("a/").await.expect("no fault");
        assert_eq!(listed, [(name("a/1"), 12), (name("a/2"), 1)]);
        store.delete(&name("a/1")).await.expect("there");
        store.delete(&name("a/1")).await.expect("missing is fine");
        assert!(matches!(store.head(&name("a/1")).await, Err(StoreError::NotFound { .. })));
    });
}

#[test]
fn of_racing_conditional_puts_one_wins() {
    for seed in 0..20 {
        let bench = Bench::new(seed);
        let wins = Rc::new(RefCell::new(0));
        for body in 0..4 {
            let (store, wins) = (bench.bucket.attach(bench.process), Rc::clone(&wins));
            bench.executor.spawn(bench.process, CoreId(0), async move {
                let won = store.put_if_absent(&name("x"), vec![body]).await.is_ok();
                *wins.borrow_mut() += u32::from(won);
            });
        }
        let _ = bench.executor.run(BUDGET, || false);
        assert_eq!(*wins.borrow(), 1);
    }
}

#[test]
fn a_put_under_way_at_a_kill_is_there_or_not_or_comes_late() {
    let (mut there, mut late, mut never) = (0, 0, 0);
    for seed in 0..100 {
        let bench = Bench::new(seed);
        bench.bucket.set_faults(StoreFaults { late_puts: true, ..Default::default() });
        let store = bench.bucket.attach(bench.process);
        bench.executor.spawn(bench.process, CoreId(0), async move {
            drop(store.put(&name("x"), vec![1]).await);
        });
        assert!(bench.executor.run(BUDGET, || bench.executor.steps() == 1).is_ok());
        bench.executor.kill(bench.process);
        bench.bucket.settle_kill(bench.process);
        let at_once = bench.bucket.objects().len();
        let _ = bench.executor.run(BUDGET, || false);
        match (at_once, bench.bucket.objects().len()) {
            (1, 1) => there += 1,
            (0, 1) => late += 1,
            (0, 0) => never += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(there > 10 && late > 10 && never > 10, "{there} {late} {never}");
}

#[test]
fn a_call_that_fails_may_have_been_applied() {
    let (mut applied, mut later, mut failed) = (0, 0, 0);
    for seed in 0..200 {
        let bench = Bench::new(seed);
        bench.bucket.set_faults(StoreFaults { error_one_in: 2, ..Default::default() });
        let put = |store: SimStore| async move { store.put(&name("x"), vec![1]).await.is_err() };
        if bench.block_on(put) {
            failed += 1;
            let at_once = bench.bucket.objects().len();
            let _ = bench.executor.run(BUDGET, || false);
            applied += at_once;
            later += bench.bucket.objects().len() - at_once;
        } else {
            assert_eq!(bench.bucket.objects().len(), 1);
        }
    }
    let never = failed - applied - later;
    assert!(applied > 10 && later > 10 && never > 10, "{applied} {later} {never} of {failed}");
}

#[test]
fn an_outage_ends() {
    let bench = Bench::new(1);
    let outage = Some((Duration::ZERO, Duration::from_secs(1)));
    bench.bucket.set_faults(StoreFaults { outage, ..Default::default() });
    let attempts = bench.block_on(|store| async move {
        let mut attempts = 1;
        while store.put(&name("x"), vec![1]).await.is_err() {
            attempts += 1;
        }
        attempts
    });
    assert!(attempts > 10 && bench.executor.now() >= Duration::from_secs(1));
}

#[test]
fn objects_can_be_tampered_with() {
    let bench = Bench::new(1);
    bench.bucket.tamper("x", Some(vec![1, 2]));
    assert_eq!(bench.bucket.objects(), [("x".to_owned(), 2)]);
    bench.bucket.tamper("x", None);
    assert_eq!(bench.bucket.objects(), []);
}

#[test]
fn damage_stays_until_it_is_put_back() {
    let bench = Bench::new(9);
    bench.block_on(|store| async move {
        store.put(&name("a"), vec![1; 1000]).await.expect("no fault");
        store.put(&name("b"), vec![2; 10]).await.expect("no fault");
    });
    let image = bench.bucket.image();
    let random = &mut Random::stream(1, "rot");
    let read = || bench.bucket.shelf.objects.borrow()["a"].to_vec();
    for (rot, changed) in [(ObjectRot::Bit, 1), (ObjectRot::Byte, 1), (ObjectRot::Noise, 512)] {
        assert!(bench.bucket.rot("a", 100, rot, random));
        let differs = read().iter().filter(|&&byte| byte != 1).count();
        assert_eq!(differs, changed, "{rot:?}");
        bench.bucket.restore(&image);
        assert_eq!(read(), [1; 1000]);
    }
    assert!(bench.bucket.rot("a", 100, ObjectRot::Short, random));
    assert_eq!(read(), [1; 100]);
    assert!(!bench.bucket.rot("a", 100, ObjectRot::Bit, random), "behind its end");
    bench.bucket.restore(&image);
    assert!(bench.bucket.rot("a", 0, ObjectRot::Swapped, random));
    assert_eq!(read(), [2; 10]);
}
