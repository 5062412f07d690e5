//! What a process does next after given answers, worked out once: the same message with the same answers is never run twice, only
//! looked up. A run that stands still can't be copied; where another answer is to be given at the same place, it is run again from
//! its beginning.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
};

use super::tape::{Answer, CallId, Ended, Fixed, Keeping, Live, Message, Request, Seconds};

/// Names a message and the answers that its handling got so far, in whatever order they came.
pub type NodeId = u32;

/// Runs that are kept standing, for the next answer.
const LIVE_MAX: usize = 200;

pub struct Node {
    before: Option<(NodeId, CallId, Answer, Seconds)>,
    message: Message,
    started: Seconds,
    /// Of all answers so far; a sum, so that their order does not matter.
    answers: u128,
    pub pending: Vec<(CallId, Request)>,
    pub ended: Option<Ended>,
}

pub struct Engine {
    world: Arc<Fixed>,
    pub texts: Arc<Mutex<Keeping>>,
    nodes: Vec<Node>,
    started: HashMap<(Message, Seconds), NodeId>,
    after: HashMap<(NodeId, CallId, Answer, Seconds), NodeId>,
    by_answers: HashMap<(Message, Seconds, u128), NodeId>,
    live: HashMap<NodeId, Live>,
    live_order: VecDeque<NodeId>,
    /// Polls of real code, and answers given again to come back to a place.
    pub steps: u64,
    pub steps_again: u64,
}

fn hash128(value: impl Hash) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &value).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(1) << 64) | half(2)
}

impl Engine {
    pub fn new(world: Arc<Fixed>, texts: Arc<Mutex<Keeping>>) -> Self {
        Self {
            world,
            texts,
            nodes: Vec::new(),
            started: HashMap::new(),
            after: HashMap::new(),
            by_answers: HashMap::new(),
            live: HashMap::new(),
            live_order: VecDeque::new(),
            steps: 0,
            steps_again: 0,
        }
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn start(&mut self, message: Message, now: Seconds) -> NodeId {
        if let Some(id) = self.started.get(&(message, now)) {
            return *id;
        }
        let live = Live::start(&self.world, &self.texts, message, now);
        self.steps += 1;
        let id = self.keep(None, message, now, 0, live);
        self.started.insert((message, now), id);
        id
    }

    pub fn answer(&mut self, node: NodeId, call: CallId, answer: Answer, now: Seconds) -> NodeId {
        let step = (node, call, answer, now);
        if let Some(id) = self.after.get(&step) {
            return *id;
        }
        let (message, started, answers) = {
            let node = self.node(node);
            (node.message, node.started, node.answers.wrapping_add(hash128((call, answer, now))))
        };
        let id = if let Some(id) = self.by_answers.get(&(message, started, answers)) {
            *id
        } else {
            let mut live = self.live.remove(&node).unwrap_or_else(|| self.run_again(node));
            live.answer(call, answer, now);
            self.steps += 1;
            self.keep(Some(step), message, started, answers, live)
        };
        self.after.insert(step, id);
        id
    }

    fn keep(
        &mut self,
        before: Option<(NodeId, CallId, Answer, Seconds)>,
        message: Message,
        started: Seconds,
        answers: u128,
        live: Live,
    ) -> NodeId {
        let id = NodeId::try_from(self.nodes.len()).unwrap();
        let (pending, ended) = (live.pending(), live.ended());
        assert!(ended.is_some() || !pending.is_empty(), "a delivery waits for nothing");
        self.nodes.push(Node { before, message, started, answers, pending, ended });
        self.by_answers.insert((message, started, answers), id);
        if ended.is_none() {
            self.live.insert(id, live);
            self.live_order.push_back(id);
            if self.live_order.len() > LIVE_MAX
                && let Some(oldest) = self.live_order.pop_front()
            {
                self.live.remove(&oldest);
            }
        }
        id
    }

    fn run_again(&mut self, node: NodeId) -> Live {
        let mut path = Vec::new();
        let mut place = node;
        while let Some((before, call, answer, now)) = self.node(place).before {
            path.push((call, answer, now));
            place = before;
        }
        let (message, started) = (self.node(node).message, self.node(node).started);
        let mut live = Live::start(&self.world, &self.texts, message, started);
        for (call, answer, now) in path.into_iter().rev() {
            live.answer(call, answer, now);
            self.steps_again += 1;
        }
        live
    }
}
