"""Which host a request goes to: subsets, priorities of retries, load that is dropped, zones."""
from differential import configs as c
from differential.case import case, get, response

BAD = response("503 Service Unavailable", body=b"bad")


def endpoint(target, **metadata):
    made = {"endpoint": {"address": {"socket_address": {"address": target[0], "port_value": target[1]}}}}
    if metadata:
        made["metadata"] = {"filter_metadata": {"envoy.lb": metadata}}
    return made


def balanced(name, localities, *routes, node=None, policy=None, **cluster):
    """`localities(place)`: those of the cluster `up`."""
    def make(p):
        assignment = {"cluster_name": "up", "endpoints": localities(p)}
        if policy:
            assignment["policy"] = policy
        made = c.served(p, c.hcm(p, c.vhost(*(routes or [c.route()]))), clusters=[{**c.up(p, **cluster), "load_assignment": assignment}])
        return {**made, "node": node} if node else made
    make.__name__ = name
    c.configuration(make)
    return name


def wants(prefix, **criteria):
    return c.route(prefix=prefix, metadata_match={"filter_metadata": {"envoy.lb": criteria}})


# ---- subsets ----
ROUTES = [wants("/v1", version="v1"), wants("/v2", version="v2"), wants("/v3", version="v3"), wants("/number", version=1),
          wants("/both", stage="prod", version="v1"), wants("/dev", stage="dev", version="v2"), wants("/more", other="x", version="v1"),
          wants("/list", version=["v1", "v4"]), wants("/v4", version="v4"), wants("/empty"), wants("/unknown", nothing="x"),
          wants("/tries", version="v9", fallback_list=[{"version": "v8"}, {"version": "v2"}]),
          wants("/nothingtried", version="v2", fallback_list=[]), wants("/badlytried", version="v2", fallback_list="v1"),
          c.route(prefix="/weighted", metadata_match={"filter_metadata": {"envoy.lb": {"stage": "prod", "version": "v9"}}}, weighted_clusters={
              "clusters": [{"name": "up", "weight": 1, "metadata_match": {"filter_metadata": {"envoy.lb": {"version": "v1"}}}}]}),
          c.route()]
PATHS = [r["match"]["prefix"] for r in ROUTES]


def subset_hosts(p):
    return [{"lb_endpoints": [endpoint(p.upstream, stage="prod", version="v1"), endpoint(p.second, version="v2")]}]


def subsets(name, hosts=subset_hosts, cluster=None, **config):
    config = {"subset_selectors": [{"keys": ["version"]}, {"keys": ["version", "stage"]}], **config}
    made = balanced(f"subsets_{name}", hosts, *ROUTES, lb_subset_config=config, **(cluster or {}))
    for path in PATHS:
        case(f"subsets, {name.replace('_', ' ')}: {path}", get(path), config=made)


KEYS = [{"keys": ["version", "stage"], "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["version"]},
        {"keys": ["version"], "fallback_policy": "DEFAULT_SUBSET"}, {"keys": ["nothing"], "fallback_policy": "NO_FALLBACK"}]
subsets("no_fallback")
subsets("to_a_default", fallback_policy="DEFAULT_SUBSET", default_subset={"stage": "prod"})
subsets("to_nobody", fallback_policy="DEFAULT_SUBSET", default_subset={"stage": "x"})
subsets("to_anybody_in_the_end", fallback_policy="DEFAULT_SUBSET", default_subset={"stage": "x"}, panic_mode_any=True,
        hosts=lambda p: [{"lb_endpoints": [endpoint(p.upstream, version="v1")]}])
subsets("of_selectors", fallback_policy="DEFAULT_SUBSET", default_subset={"version": "v2"}, subset_selectors=KEYS)
subsets("lists", list_as_any=True, hosts=lambda p: [{"lb_endpoints": [endpoint(p.upstream, stage=["dev", "prod"], version=["v1", "v4"]),
                                                                     endpoint(p.second, version="v2", stage="dev")]}])
subsets("lists_as_values", hosts=lambda p: [{"lb_endpoints": [endpoint(p.upstream, version=["v1", "v4"]), endpoint(p.second, version=1)]}])
subsets("fallback_list", metadata_fallback_policy="FALLBACK_LIST")
subsets("single_hosts", subset_selectors=[{"keys": ["version"], "single_host_per_subset": True}], hosts=lambda p: [
    {"priority": 1, "lb_endpoints": [endpoint(p.upstream, version="v1")]},
    {"lb_endpoints": [{**endpoint(p.second, version="v1"), "health_status": "UNHEALTHY"}]}])
TYPED = c.c.typed("envoy.extensions.load_balancing_policies.subset.v3.Subset", allow_redundant_keys=True, subset_selectors=[
    {"keys": ["version"]}, {"keys": ["version", "stage"]}], subset_lb_policy={"policies": [{"typed_extension_config": {
        "name": "inner", "typed_config": c.c.typed("envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin")}}]})
balanced("subsets_typed", subset_hosts, *ROUTES, load_balancing_policy={"policies": [{"typed_extension_config": {"name": "s", "typed_config": TYPED}}]})
for path in PATHS:
    case(f"subsets, typed: {path}", get(path), config="subsets_typed")

# ---- priorities, and hosts that a retry leaves alone ----
def retrying(**fields):
    return c.route(retry_policy={"retry_on": "5xx", "num_retries": 4, "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"}, **fields})


def in_priorities(p):
    return [{"priority": i, "lb_endpoints": [endpoint(t, number=i)]} for i, t in enumerate([p.upstream, p.second])]


for frequency in (1, 2):
    balanced(f"previous_priorities_{frequency}", in_priorities, retrying(retry_priority={
        "name": "envoy.retry_priorities.previous_priorities", "typed_config": c.c.typed(
            "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", update_frequency=frequency)}))
    for well in range(4):
        case(f"retry in other priorities, every {frequency}, {well} times", get(), replies=(*[BAD] * well, response()), config=f"previous_priorities_{frequency}")

# ---- load that is dropped ----
for numerator in (0, 100):
    balanced(f"drop_{numerator}", lambda p: [{"lb_endpoints": [endpoint(p.upstream)]}],
             policy={"drop_overloads": [{"category": "c", "drop_percentage": {"numerator": numerator}}]})
    case(f"drops {numerator} percent", get(), config=f"drop_{numerator}")
    case(f"drops {numerator} percent of grpc", get("/s/m", "content-type: application/grpc"), config=f"drop_{numerator}")

# ---- zones ----
balanced("zones", lambda p: [{"locality": {"zone": "there"}, "lb_endpoints": [endpoint(p.upstream)]}],
         node={"id": "n", "cluster": "c", "locality": {"zone": "here"}})
case("statistics between zones", get(), config="zones")
case("statistics between zones, of failures", get(), replies=BAD, config="zones")


def by_zones(name, proxies, members, **lb):
    """`proxies`: the zones of the proxies, "here" is this one's; `members(place)`: [(zone, target)] of the cluster."""
    def localities(hosts):
        return [{"locality": {"zone": zone}, "lb_endpoints": [endpoint(t)]} for zone, t in hosts]

    def make(p):
        local = {"name": "proxies", "type": "STATIC", "load_assignment": {"cluster_name": "proxies", "endpoints": localities(
            [(zone, ("127.0.0.1", 100 + i)) for i, zone in enumerate(proxies)])}}
        up = {**c.up(p, common_lb_config={"zone_aware_lb_config": {"min_cluster_size": 2, **lb}}),
              "load_assignment": {"cluster_name": "up", "endpoints": localities(members(p))}}
        made = c.served(p, c.hcm(p), clusters=[up, local])
        return {**made, "node": {"id": "n", "cluster": "c", "locality": {"zone": "here"}}, "cluster_manager": {"local_cluster_name": "proxies"}}
    make.__name__ = f"by_zones_{name}"
    c.configuration(make)
    for number in range(3):
        case(f"by zones: {name.replace('_', ' ')} {number}", get(f"/{number}"), config=make.__name__)


by_zones("all_stays", ["here", "there"], lambda p: [("here", p.upstream), ("there", p.second)])
by_zones("nobody_here", ["here", "there"], lambda p: [("there", p.upstream), ("elsewhere", p.second)])
by_zones("nobody_here_but_us", ["here", "elsewhere"], lambda p: [("there", p.upstream), ("elsewhere", p.second)])
