//! The rules of the safety checklist by id. Ids appear in reasons, receipts and tests.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($id:ident $words:literal,)*) => {
        /// One rule of the rollback safety checklist.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum RuleId { $($id,)* }

        impl RuleId {
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$id => stringify!($id),)* }
            }

            /// The rule in a few words, for people.
            pub fn words(self) -> &'static str {
                match self { $(Self::$id => $words,)* }
            }
        }
    };
}

rules! {
    E1 "only a firing of a rule that was opted in is evidence",
    E2 "the severity must reach the gate",
    E3 "missing data is unknown, neither good nor bad",
    E5 "too few measurements are no evidence",
    E8 "telemetry must be fresh",
    E9 "never act on monitoring or on this handler",
    C1 "the fault must not begin before the deployment",
    C2 "an alert that fired before the deployment accuses nobody",
    C3 "the deployment must lie within the correlation window",
    C4 "the deployment must be on the alert's resource or upstream of it",
    C6 "one candidate must stand out at least twofold",
    C8 "no known change is unknown, not none",
    C10 "times of two sources are compared with an allowance",
    P1 "many unrelated alerts mean something bigger",
    S1 "a one-way door is not walked back",
    S2 "reversibility must be declared",
    S3 "go back one deployment, not several",
    S5 "the version to go back to must be proven good",
    S6 "the state before is recorded when the deployment is seen",
    S8 "a deployment that took no effect cannot be taken back",
    S9 "rights, locks and capacity are checked before",
    S10 "the other slot must hold the expected build",
    S11 "what keeps the desired state may put the bad version back",
    A1 "one bad version is taken back at most once, ever",
    A2 "a rollback is never taken back",
    A3 "stale and duplicate messages change nothing",
    A4 "nothing is decided while an operation is under way",
    A5 "the live state is read again just before the call",
    A6 "cool-down and budget limit how often we act",
    A7 "a flapping target is left to a person",
    A10 "the kill switch stops everything not yet sent",
    A11 "an approval expires, and is used once",
    A12 "what another automation owns is left to it",
    A13 "a signal that recovers by itself ends the wait",
    V1 "a rollback is not judged by the alert that caused it",
    V2 "verified means: serving, back in range, and with data",
    V3 "a rollback that does not help by its deadline goes to a person",
    V4 "a rollback after which it got worse goes to a person, and is not taken back",
    V5 "a half-done rollback is told exactly",
    V6 "every outcome is told",
    V7 "the record holds everything the decision used",
    T2 "a bounded wait for evidence is worth it",
    T3 "a service acts only when its policy says so",
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
