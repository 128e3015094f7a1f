# The programs, in the tree that users know: <build>/mindie-service/{bin,conf}. `cmake --install` makes the same
# elsewhere.
set(PHX_SERVICE_DIR ${CMAKE_BINARY_DIR}/mindie-service)

function(phalanx_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  foreach(source ${ARG_SOURCES})
    if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${source})
      return()
    endif()
  endforeach()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE phx_options ${ARG_DEPS})
  target_compile_definitions(${name} PRIVATE PHX_VERSION="${PROJECT_VERSION}")
  target_link_options(${name} PRIVATE -Wl,--gc-sections)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PHX_SERVICE_DIR}/bin)
  install(TARGETS ${name} RUNTIME DESTINATION mindie-service/bin)
endfunction()

# One rank: the compute side alone.
phalanx_program(phalanx-worker SOURCES src/app/worker_main.cc DEPS phx_worker)

# The daemon: the control side alone.
phalanx_program(mindieservice_daemon
  SOURCES src/app/daemon_main.cc src/app/serve.cc
  DEPS phx_api phx_http phx_text phx_engine phx_parallel phx_config CLI11::CLI11)
# The other package form of the original calls the same program mindie_llm_server.
if(TARGET mindieservice_daemon)
add_custom_command(TARGET mindieservice_daemon POST_BUILD
  COMMAND ${CMAKE_COMMAND} -E create_symlink mindieservice_daemon ${PHX_SERVICE_DIR}/bin/mindie_llm_server)
install(FILES ${PHX_SERVICE_DIR}/bin/mindie_llm_server DESTINATION mindie-service/bin)
endif()

# The tool beside it: plan, chat.
phalanx_program(phalanx
  SOURCES src/app/phalanx_main.cc src/app/plan_report.cc src/app/chat.cc src/app/http_client.cc
  DEPS phx_layers phx_weights phx_parallel phx_plan phx_config phx_boost CLI11::CLI11)

# conf/config.json is put there once; a user's edits stay.
if(NOT EXISTS ${PHX_SERVICE_DIR}/conf/config.json)
  file(COPY ${CMAKE_SOURCE_DIR}/conf/config.json DESTINATION ${PHX_SERVICE_DIR}/conf
       FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
endif()
install(FILES conf/config.json DESTINATION mindie-service/conf PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
