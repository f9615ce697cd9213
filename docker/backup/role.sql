-- The role that backs PostgreSQL up: it may begin and end a backup, and nothing else. Run by a superuser in `postgres`,
-- with its password in the variable `password`; running it again changes the password.
SELECT 'CREATE ROLE backup LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'backup') \gexec
ALTER ROLE backup PASSWORD :'password';
GRANT pg_read_all_settings TO backup;
GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean), pg_switch_wal(),
    pg_create_restore_point(text) TO backup;
