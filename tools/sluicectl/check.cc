#include <cstdio>

#include "command.h"
#include "output.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

Result<int> run(const Context& context, const cxxopts::ParseResult&) {
  auto items = redirect::check_host(context.redirect);
  bool missing = false;
  Json list = Json::array();
  for (const auto& i : items) {
    missing |= i.outcome == redirect::CheckItem::Outcome::missing;
    list.push(Json::object()
                  .set("name", i.name)
                  .set("outcome", to_string(i.outcome))
                  .set("found", i.found)
                  .set("remedy", i.remedy.empty() ? Json() : Json(i.remedy)));
  }
  if (context.json) {
    print_json(Json::object().set("interception_possible", !missing).set("items", std::move(list)));
    return missing ? 1 : 0;
  }
  Table table({"", "WHAT", "FOUND"});
  for (const auto& i : items) table.row({to_string(i.outcome), i.name, i.found});
  table.print();
  bool first = true;
  for (const auto& i : items) {
    if (i.remedy.empty()) continue;
    if (first) std::printf("\n");
    first = false;
    std::printf("%s: %s\n", i.name.c_str(), i.remedy.c_str());
  }
  std::printf("\n%s\n",
              missing
                  ? "Interception cannot work here; sluiced can still run standalone (sluiced -c envoy.yaml)."
                  : "Interception works on this host.");
  return missing ? 1 : 0;
}

}  // namespace

const Command kCheck = {
    "check",
    "",
    "what this host offers and lacks for interception, and the remedy",
    "Looks at the kernel, BTF, capabilities, cgroup v2, bpffs, io_uring and other programs on our hooks, and "
    "lets the\n"
    "kernel's verifier read our BPF programs without attaching them. Changes nothing. Exit status 1 when "
    "something that\n"
    "interception cannot do without is missing.\n\n"
    "Example:\n  sluicectl check\n  sluicectl check -o json | jq '.items[] | select(.outcome != \"ok\")'",
    nullptr,
    run};

}  // namespace sluice::ctl
