#include <signal.h>

#include <cstdio>

#include "config/translate.h"
#include "core/log.h"
#include "extensions/access_loggers/file/log_manager.h"
#include "main/builtin.h"
#include "main/flags.h"
#include "server/server.h"
#include "server/signals.h"

namespace sluice {
namespace {

int fail(const Error& e) {
  std::fprintf(stderr, "sluiced: %s\n", e.message.c_str());
  return 1;
}

Status init_log(const server::Options& o) {
  auto level = log::parse_level(o.log_level);
  if (!level) return std::move(level).error().prefixed("--log-level");
  SLUICE_TRY(log::init(*level, o.log_path, o.log_format));
  return log::set_levels(o.component_log_level);
}

int validate(const server::Options& o, const ext::Registry& registry) {
  // Loggers are built too, but nothing is written: the files' folders need not exist here.
  stats::Store store(1);
  access_loggers::FileLogManager access_logs(store.root(0));
  auto configuration = config::load_configuration(server::load_options(o), registry, access_logs);
  if (!configuration) return fail(configuration.error());
  const model::ConfigSet& set = *configuration->model.config;
  std::printf("configuration '%s' OK: %zu listeners, %zu clusters\n", o.config_path.c_str(),
              set.listeners.size(), set.clusters.size());
  return 0;
}

int main(int argc, char** argv) {
  auto options = parse_flags(argc, argv);
  if (!options) return fail(options.error());
  if (!*options) return 0;
  server::Signals::block({SIGTERM, SIGINT, SIGUSR1, SIGHUP});
  if (Status s = init_log(**options); !s) return fail(s.error());
  ext::Registry registry;
  register_builtin(registry);
  if ((*options)->validate_only) return validate(**options, registry);
  server::Server server(std::move(**options), registry);
  if (Status s = server.start(); !s) return fail(s.error());
  return server.run();
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  return sluice::main(argc, argv);
}
