#!/bin/bash
# One-node Ceph with the RADOS gateway (S3) for tests: one monitor, one disk in memory, loopback, any user.
# ceph_process.sh FOLDER PORT, with CEPH_ACCESS and CEPH_SECRET in the environment; PORT+1 and PORT+2 are taken too.
set -e; D=$1; P=$2; AK=$CEPH_ACCESS; SK=$CEPH_SECRET; F=9d1c4f3e-3a1e-4a5e-9d5c-000000000001; OU=9d1c4f3e-3a1e-4a5e-9d5c-0000000000aa
mkdir -p $D/mon $D/osd $D/run; export CEPH_CONF=$D/ceph.conf
cat > $D/ceph.conf <<C
[global]
fsid = $F
mon_host = [v2:127.0.0.1:$((P+1))/0,v1:127.0.0.1:$((P+2))/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = true
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 2000
osd_crush_chooseleaf_type = 0
run_dir = $TMPDIR
admin_socket = $TMPDIR/\$name.asok
pid_file = $D/run/\$name.pid
log_file = $D/\$name.log
mon_cluster_log_file = $D/cluster.log
crash_dir = $D/crash
keyring = $D/keyring
debug_ms = 0
mon_data_avail_crit = 1
mon_data_avail_warn = 1
[mon.a]
mon_data = $D/mon
[osd]
osd_data = $D/osd
osd_objectstore = memstore
memstore_device_bytes = 6442450944
osd_memory_target = 1073741824
osd_class_load_list = *
osd_class_default_list = *
osd_op_num_shards = 2
[client.rgw]
keyring = $D/keyring
rgw_data = $D/rgw
rgw_frontends = beast endpoint=127.0.0.1:$P
rgw_enable_usage_log = false
rgw_gc_processor_period = 60
rgw_zone = default
rgw_thread_pool_size = 32
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
C
if [ ! -e $D/monmap ]; then
  monmaptool --create --addv a "[v2:127.0.0.1:$((P+1)),v1:127.0.0.1:$((P+2))]" --fsid $F $D/monmap >/dev/null
  K=$D/keyring
  ceph-authtool --create-keyring $K --gen-key -n mon. --cap mon 'allow *' >/dev/null
  ceph-authtool $K --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  ceph-authtool $K --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'
  ceph-authtool $K --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  ceph-mon --mkfs -i a --monmap $D/monmap --keyring $K
fi
ceph-mon -i a -f & M=$!
trap 'kill $R $O $M 2>/dev/null; wait; exit 0' TERM INT
until ceph osd new $OU 0 --connect-timeout 20 >/dev/null; do sleep .2; done
[ -e $D/osd/whoami ] || ceph-osd -i 0 --mkfs --osd-uuid $OU 2>/dev/null
ceph-osd -i 0 -f & O=$!
until ceph osd stat -f json 2>/dev/null | grep -q '"num_up_osds":1'; do sleep .2; done
radosgw-admin -n client.rgw user create --uid=eu --display-name=eu --access-key=$AK --secret-key=$SK >/dev/null 2>>$D/admin.log
radosgw -n client.rgw -f & R=$!
wait $R
