//! Nodes, services and pods, and the labels that their series carry.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::catalogue::{Catalogue, Family, Kind};
use super::process::{BUCKET_BOUNDS, Process};
use crate::proto::EncodedLabels;

/// Pods that run on a node.
const PODS_PER_NODE: usize = 12;
/// The share of pods that have a proxy beside their own container.
const SIDECAR_SHARE: f64 = 0.3;
/// Namespace and name of the services whose pods make up the cluster.
const SERVICES: [(&str, &str); 16] = [
    ("billing", "invoices"),
    ("billing", "payments"),
    ("catalog", "products"),
    ("catalog", "search"),
    ("checkout", "cart"),
    ("checkout", "orders"),
    ("identity", "accounts"),
    ("identity", "sessions"),
    ("logistics", "shipping"),
    ("logistics", "tracking"),
    ("logistics", "warehouse"),
    ("media", "images"),
    ("media", "transcoder"),
    ("notify", "mailer"),
    ("notify", "push"),
    ("web", "frontend"),
];

/// What one line of the catalogue is exposed about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Node { node: u32 },
    Container { pod: u32, sidecar: bool },
    Pod { pod: u32 },
    App { pod: u32 },
}

/// One combination of dimensions of one family, about one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exposed {
    subject: Subject,
    family: u16,
    dimension: u16,
}

#[derive(Debug)]
struct Pod {
    service: usize,
    node: u32,
    /// Goes up when the pod is replaced.
    generation: u32,
    name: String,
    ip: String,
    version: String,
    has_sidecar: bool,
}

/// The cluster as it is now.
#[derive(Debug)]
pub(super) struct Cluster {
    name: String,
    catalogue: Catalogue,
    nodes: u32,
    pods: Vec<Pod>,
}

impl Cluster {
    pub(super) fn new(name: String, catalogue: Catalogue) -> Self {
        Self { name, catalogue, nodes: 0, pods: Vec::new() }
    }

    /// Adds nodes until there are exactly `series` series, and returns what each target exposes. The last node may
    /// expose less than the others.
    pub(super) fn grow_to(&mut self, series: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<Exposed>> {
        let mut budget = series;
        let mut kube_state = Vec::new();
        let mut targets = Vec::new();
        while budget > 0 {
            let node = self.nodes;
            self.nodes += 1;
            let mut exporter = Vec::new();
            let mut kubelet = Vec::new();
            self.expose(Subject::Node { node }, &mut budget, &mut exporter);
            targets.push(exporter);
            for _ in 0..PODS_PER_NODE {
                let pod = self.pods.len() as u32;
                let added = new_pod(node, rng);
                let has_sidecar = added.has_sidecar;
                self.pods.push(added);
                let mut app = Vec::new();
                self.expose(Subject::App { pod }, &mut budget, &mut app);
                self.expose(Subject::Container { pod, sidecar: false }, &mut budget, &mut kubelet);
                if has_sidecar {
                    self.expose(Subject::Container { pod, sidecar: true }, &mut budget, &mut kubelet);
                }
                self.expose(Subject::Pod { pod }, &mut budget, &mut kube_state);
                targets.push(app);
            }
            targets.push(kubelet);
        }
        targets.push(kube_state);
        targets.retain(|target| !target.is_empty());
        targets
    }

    /// Appends all that is exposed about `subject`, as far as the budget of series reaches.
    fn expose(&self, subject: Subject, budget: &mut usize, out: &mut Vec<Exposed>) {
        for (family, found) in self.families(subject).iter().enumerate() {
            for dimension in 0..found.dimensions.len() {
                let series = Process::series_of(found.kind);
                if series <= *budget {
                    *budget -= series;
                    out.push(Exposed { subject, family: family as u16, dimension: dimension as u16 });
                }
            }
        }
    }

    fn families(&self, subject: Subject) -> &[Family] {
        match subject {
            Subject::Node { .. } => &self.catalogue.node,
            Subject::Container { .. } => &self.catalogue.container,
            Subject::Pod { .. } => &self.catalogue.pod,
            Subject::App { .. } => &self.catalogue.app,
        }
    }

    fn family(&self, exposed: &Exposed) -> &Family {
        &self.families(exposed.subject)[exposed.family as usize]
    }

    pub(super) fn kind(&self, exposed: &Exposed) -> Kind {
        self.family(exposed).kind
    }

    /// The generation of the pod that this belongs to; what belongs to a node stays as long as the cluster.
    pub(super) fn generation(&self, exposed: &Exposed) -> u32 {
        match exposed.subject {
            Subject::Node { .. } => 0,
            Subject::Container { pod, .. } | Subject::Pod { pod } | Subject::App { pod } => {
                self.pods[pod as usize].generation
            }
        }
    }

    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }

    /// A pod ends and another of the same service takes its place on the node.
    pub(super) fn replace_pod(&mut self, pod: usize, rng: &mut ChaCha8Rng) {
        let pod = &mut self.pods[pod];
        pod.generation += 1;
        pod.name = pod_name(pod.service, rng);
        pod.ip = pod_ip(pod.node, rng);
    }

    /// Hands out the labels of each series of `exposed`: one, or those of a histogram in the order of
    /// [`Process::advance`].
    pub(super) fn labels(&self, exposed: &Exposed, mut emit: impl FnMut(EncodedLabels)) {
        let family = self.family(exposed);
        let mut shared = self.subject_labels(exposed.subject);
        let dimensions = &family.dimensions[exposed.dimension as usize];
        shared.extend(dimensions.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let name = match exposed.subject {
            Subject::App { pod } => family.name.replace("{app}", SERVICES[self.pods[pod as usize].service].1),
            _ => family.name.clone(),
        };
        let with = |name: String, more: Option<(&'static str, String)>| {
            EncodedLabels::new(shared.iter().cloned().chain([("__name__", name)]).chain(more))
        };
        if family.kind != Kind::Histogram {
            return emit(with(name, None));
        }
        for bound in BUCKET_BOUNDS.into_iter().chain(["+Inf"]) {
            emit(with(format!("{name}_bucket"), Some(("le", bound.to_owned()))));
        }
        emit(with(format!("{name}_sum"), None));
        emit(with(format!("{name}_count"), None));
    }

    fn subject_labels(&self, subject: Subject) -> Vec<(&str, String)> {
        let mut labels = vec![("cluster", self.name.clone())];
        let mut add = |more: &[(&'static str, &str)]| {
            labels.extend(more.iter().map(|&(name, value)| (name, value.to_owned())));
        };
        match subject {
            Subject::Node { node } => add(&[
                ("container", "node-exporter"),
                ("endpoint", "metrics"),
                ("instance", &format!("{}:9100", node_ip(node))),
                ("job", "node-exporter"),
                ("namespace", "monitoring"),
                ("node", &node_name(node)),
                ("pod", &format!("node-exporter-{node:05}")),
                ("service", "node-exporter"),
            ]),
            Subject::Container { pod, sidecar } => {
                let pod = &self.pods[pod as usize];
                let (namespace, service) = SERVICES[pod.service];
                let image = if sidecar {
                    "registry.example.com/mesh/proxy:1.27.1".to_owned()
                } else {
                    format!("registry.example.com/{namespace}/{service}:{}", pod.version)
                };
                add(&[
                    ("container", if sidecar { "mesh-proxy" } else { service }),
                    ("endpoint", "https-metrics"),
                    ("image", &image),
                    ("instance", &format!("{}:10250", node_ip(pod.node))),
                    ("job", "kubelet"),
                    ("metrics_path", "/metrics/cadvisor"),
                    ("namespace", namespace),
                    ("node", &node_name(pod.node)),
                    ("pod", &pod.name),
                    ("service", "kubelet"),
                ]);
            }
            Subject::Pod { pod } => {
                let pod = &self.pods[pod as usize];
                let (namespace, service) = SERVICES[pod.service];
                add(&[
                    ("container", service),
                    ("endpoint", "http"),
                    ("instance", "10.0.0.10:8080"),
                    ("job", "kube-state-metrics"),
                    ("namespace", namespace),
                    ("node", &node_name(pod.node)),
                    ("pod", &pod.name),
                    ("service", "kube-state-metrics"),
                ]);
            }
            Subject::App { pod } => {
                let pod = &self.pods[pod as usize];
                let (namespace, service) = SERVICES[pod.service];
                add(&[
                    ("container", service),
                    ("endpoint", "http-metrics"),
                    ("instance", &format!("{}:8080", pod.ip)),
                    ("job", service),
                    ("namespace", namespace),
                    ("node", &node_name(pod.node)),
                    ("pod", &pod.name),
                    ("service", service),
                    ("version", &pod.version),
                ]);
            }
        }
        labels
    }
}

fn new_pod(node: u32, rng: &mut ChaCha8Rng) -> Pod {
    let service = rng.random_range(0..SERVICES.len());
    Pod {
        service,
        node,
        generation: 0,
        name: pod_name(service, rng),
        ip: pod_ip(node, rng),
        version: format!("v1.{}.{}", service % 7, service % 3),
        has_sidecar: rng.random_bool(SIDECAR_SHARE),
    }
}

fn pod_name(service: usize, rng: &mut ChaCha8Rng) -> String {
    // The alphabet of Kubernetes' generated names, which has no vowels.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let suffix: String = (0..5).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect();
    let (_, service) = SERVICES[service];
    format!("{service}-{:010x}-{suffix}", rng.random::<u64>() >> 24)
}

fn pod_ip(node: u32, rng: &mut ChaCha8Rng) -> String {
    format!("10.{}.{}.{}", 100 + node / 256, node % 256, rng.random_range(2..255))
}

fn node_ip(node: u32) -> String {
    format!("10.1.{}.{}", node / 250, 4 + node % 250)
}

fn node_name(node: u32) -> String {
    format!("ip-10-1-{}-{}.eu-central-1.compute.internal", node / 250, 4 + node % 250)
}
