# The programs and the install tree (build/latest/mindie-service/).
