#include <cstdio>

#include "command.h"
#include "control_client.h"
#include "output.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  auto words =
      args.count("arguments") ? args["arguments"].as<std::vector<std::string>>() : std::vector<std::string>{};
  if (words.size() != 1)
    return usage_error(kRelease, "release needs the name (or netns cookie) of one workload");
  auto answer = ask_sluiced(context.control_socket, "DELETE", "/workloads/" + percent_encode(words[0]));
  bool alone = !answer.ok() && nobody_there(answer.error());
  if (alone) {
    SLUICE_ASSIGN(auto redirector, redirect::Redirector::open(context.redirect));
    SLUICE_TRY(redirector->release(words[0]));
  } else if (!answer.ok()) {
    return std::move(answer).error();
  }
  if (context.json)
    print_json(Json::object().set("released", words[0]).set("by", alone ? "sluicectl" : "sluiced"));
  else
    std::printf("%s is released%s\n", words[0].c_str(),
                alone ? " (sluiced does not run; done directly)" : "");
  return 0;
}

}  // namespace

const Command kRelease = {
    "release",
    "NAME",
    "end the interception of a workload",
    "New connections of the workload go their own way at once; those that are redirected already stay with "
    "sluiced until\n"
    "they end. Works without sluiced too: the way out when a pod is cut off by fail mode closed.\n\n"
    "Example:\n  sluicectl release shop/cart\n  sluicectl release 4711        # by netns cookie, when the "
    "name is lost",
    nullptr,
    run};

}  // namespace sluice::ctl
