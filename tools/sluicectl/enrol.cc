#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "command.h"
#include "control_client.h"
#include "output.h"
#include "redirect/json.h"

namespace sluice::ctl {
namespace {

void options(cxxopts::Options& o) {
  using List = std::vector<std::string>;
  o.add_options()("netns", "the namespace, instead of as the second word", cxxopts::value<std::string>(),
                  "NETNS")("fail-mode", "closed or open: new connections while no proxy runs",
                           cxxopts::value<std::string>()->default_value("closed"),
                           "MODE")("no-inbound", "leave arriving connections alone")(
      "no-outbound", "leave the pod's own connections alone")(
      "outbound-port", "of virtualOutbound; default: sluiced's", cxxopts::value<unsigned>(), "PORT")(
      "inbound-port", "of virtualInbound; default: sluiced's", cxxopts::value<unsigned>(), "PORT")(
      "exclude-outbound-ports", "destination ports not redirected", cxxopts::value<List>(), "P,...")(
      "include-outbound-ports", "redirect these ports (and included CIDRs) only", cxxopts::value<List>(),
      "P,...")("exclude-cidrs", "destinations not redirected", cxxopts::value<List>(), "CIDR,...")(
      "include-cidrs", "redirect these destinations (and included ports) only", cxxopts::value<List>(),
      "CIDR,...")("exclude-uids", "users whose connections are not redirected", cxxopts::value<List>(),
                  "UID,...")("exclude-inbound-ports", "ports that reach the application directly",
                             cxxopts::value<List>(), "P,...")(
      "include-inbound-ports", "take these ports only", cxxopts::value<List>(), "P,...")(
      "probe-sources", "kubelet and the like: callers that reach the application directly",
      cxxopts::value<List>(), "CIDR,...");
  o.add_options("Identity")("identity", "who the workload is", cxxopts::value<std::string>(),
                            "spiffe://TD/ns/NS/sa/SA")(
      "secrets", "its certificate: a folder with cert-chain.pem, key.pem, root-cert.pem",
      cxxopts::value<std::string>(),
      "DIR")("sds", "or a socket that has \"default\" and \"ROOTCA\"", cxxopts::value<std::string>(),
             "unix:/PATH")("development-ca", "or a folder of `sluicectl ca init`, by which sluiced issues it",
                           cxxopts::value<std::string>(), "DIR");
}

Result<Json> numbers(const std::vector<std::string>& words, const std::string& field) {
  Json out = Json::array();
  for (const std::string& word : words) {
    auto n = Json::parse(word);
    if (!n.ok() || n->type() != Json::Type::integer)
      return Error{"--" + field + ": \"" + word + "\" is not a number", EINVAL};
    out.push(std::move(*n));
  }
  return out;
}

// "NAME" of `ip netns`, or a path.
std::string netns_path(const std::string& word) {
  if (word.find('/') != std::string::npos) {
    // sluiced may run elsewhere and so may see /proc/self differently.
    if (word.starts_with("/proc/self/")) return "/proc/" + std::to_string(::getpid()) + word.substr(10);
    return word;
  }
  if (word.find_first_not_of("0123456789") == std::string::npos) return "/proc/" + word + "/ns/net";
  return "/run/netns/" + word;
}

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  auto words =
      args.count("arguments") ? args["arguments"].as<std::vector<std::string>>() : std::vector<std::string>{};
  if (args.count("netns")) words.push_back(args["netns"].as<std::string>());
  if (words.size() != 2) return usage_error(kEnrol, "enrol needs a name and a network namespace");
  Json spec = Json::object();
  spec.set("name", words[0]).set("netns", netns_path(words[1]));
  spec.set("fail_mode", args["fail-mode"].as<std::string>());
  spec.set("inbound", !args.count("no-inbound")).set("outbound", !args.count("no-outbound"));
  for (auto [option, member] :
       {std::pair{"outbound-port", "outbound_port"}, {"inbound-port", "inbound_port"}})
    if (args.count(option)) spec.set(member, args[option].as<unsigned>());
  for (const char* option : {"exclude-outbound-ports", "include-outbound-ports", "exclude-uids",
                             "exclude-inbound-ports", "include-inbound-ports"}) {
    if (!args.count(option)) continue;
    SLUICE_ASSIGN(Json list, numbers(args[option].as<std::vector<std::string>>(), option));
    std::string member = option;
    for (char& c : member) c = c == '-' ? '_' : c;
    spec.set(member, std::move(list));
  }
  for (auto [option, member] : {std::pair{"exclude-cidrs", "exclude_cidrs"},
                                {"include-cidrs", "include_cidrs"},
                                {"probe-sources", "probe_sources"}}) {
    if (!args.count(option)) continue;
    Json list = Json::array();
    for (const auto& word : args[option].as<std::vector<std::string>>()) list.push(word);
    spec.set(member, std::move(list));
  }
  if (args.count("identity")) spec.set("identity", args["identity"].as<std::string>());
  for (auto [option, member] :
       {std::pair{"secrets", "files"}, {"sds", "sds"}, {"development-ca", "development_ca"}}) {
    if (!args.count(option)) continue;
    if (spec.has("secrets"))
      return usage_error(kEnrol,
                         "a workload has one source of secrets: --secrets, --sds or --development-ca");
    std::string path = args[option].as<std::string>();
    if (path.starts_with("unix:")) path.erase(0, 5);
    // sluiced's working folder may be another.
    spec.set("secrets",
             Json::object().set(member, std::filesystem::absolute(path).lexically_normal().string()));
  }
  SLUICE_TRY(redirect::spec_from_json(spec));  // the same words as sluiced's, but before asking it

  auto answer = ask_sluiced(context.control_socket, "POST", "/workloads", &spec);
  if (!answer.ok()) {
    Error e = std::move(answer).error();
    if (nobody_there(e))
      e.message += "\nOnly a running sluiced can enrol: it opens the listeners in the pod.";
    return e;
  }
  if (context.json) {
    print_json(*answer);
    return 0;
  }
  std::printf("%s is enrolled: netns cookie %lld, generation %lld, fail mode %s\n", words[0].c_str(),
              static_cast<long long>((*answer)["netns_cookie"].as_int()),
              static_cast<long long>((*answer)["generation"].as_int()),
              (*answer)["spec"]["fail_mode"].as_string().c_str());
  if (const Json& state = (*answer)["identity_state"]; state.is_object())
    std::printf("It is %s, by %s%s%s\n", state["identity"].as_string().c_str(),
                state["source"].as_string().c_str(),
                state["usable"].as_bool() ? "" : "; NOT USABLE YET: ", state["reason"].as_string().c_str());
  return 0;
}

}  // namespace

const Command kEnrol = {"enrol",
                        "NAME NETNS",
                        "put a network namespace under interception, or change its rules",
                        "NAME is yours to choose (letters, digits, . _ / -). NETNS is a path, a name of `ip "
                        "netns`, or a pid. From then on\n"
                        "new connections of that namespace go through sluiced; those that exist are left in "
                        "peace. Enrolling the same name\n"
                        "again replaces its rules. Excludes win over includes (of two prefixes the longer "
                        "one wins); with an include list\n"
                        "only what is on it is redirected.\n\n"
                        "Example:\n"
                        "  sluicectl enrol shop/cart /run/netns/cart --exclude-outbound-ports 22,5432 "
                        "--exclude-cidrs 10.96.0.10/32 \\\n"
                        "      --probe-sources 10.0.0.1/32 --fail-mode closed\n\n"
                        "With --identity the configuration's secrets \"default\" and \"ROOTCA\" are the "
                        "workload's own, from one of\n"
                        "--secrets, --sds and --development-ca. Its certificate must be for that identity; "
                        "while it has none that is\n"
                        "valid, its TLS connections fail. Files are watched: replace them by renaming.\n\n"
                        "  sluicectl enrol shop/cart cart --identity spiffe://cluster.local/ns/shop/sa/cart "
                        "--secrets /run/secrets/cart",
                        options,
                        run};

}  // namespace sluice::ctl
