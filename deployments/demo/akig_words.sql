-- Deterministic pseudo-random numbers and vocabulary, in pg_temp: gone with the session.
-- hashint8extended is a seeded 64-bit hash that is the same on every supported major.
CREATE FUNCTION pg_temp.bits(i bigint, salt int) RETURNS bigint IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT hashint8extended(i, :seed * 1000003::bigint + salt) & 9223372036854775807 $$;
CREATE FUNCTION pg_temp.pick(i bigint, salt int, n int) RETURNS int IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT (pg_temp.bits(i, salt) % n)::int $$;
CREATE FUNCTION pg_temp.word(words text[], i bigint, salt int) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT words[1 + pg_temp.pick(i, salt, array_length(words, 1))] $$;
CREATE FUNCTION pg_temp.unique_id(i bigint, salt int) RETURNS uuid IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT md5(i || ':' || salt || ':' || :seed)::uuid $$;
CREATE FUNCTION pg_temp.moment(i bigint, salt int) RETURNS timestamptz IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT to_timestamp(:until - pg_temp.pick(i, salt, 94600000)) $$;
CREATE FUNCTION pg_temp.day(i bigint, salt int) RETURNS date IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT date '1970-01-01' + (:until / 86400)::int - pg_temp.pick(i, salt, 1095) $$;
CREATE FUNCTION pg_temp.first_names() RETURNS text[] IMMUTABLE LANGUAGE sql AS $$ SELECT
  '{Aminata,Mamadou,Fatoumata,Ibrahima,Mariama,Ousmane,Aïssatou,Alpha,Kadiatou,Sékou,Camille,Louis,Jeanne,Hugo,Inès,
    Léa,Nathan,Chloé,Gabriel,Zoé,Maël,Noémie,Théo,Élise,Karim,Nadia,Omar,Salma,Yacine,Rania,Moussa,Oumou}'::text[] $$;
CREATE FUNCTION pg_temp.last_names() RETURNS text[] IMMUTABLE LANGUAGE sql AS $$ SELECT
  '{Diallo,Bah,Barry,Camara,Condé,Keïta,Sylla,Touré,Sow,Baldé,Martin,Bernard,Dubois,Petit,Robert,Richard,Durand,Moreau,
    Laurent,Simon,Michel,Lefèvre,Leroy,Roux,David,Bertrand,Morel,Fournier,Girard,Bonnet,Traoré,Koné,Cissé,Fofana}'::text[] $$;
CREATE FUNCTION pg_temp.cities() RETURNS text[] IMMUTABLE LANGUAGE sql AS $$ SELECT
  '{Conakry,Kindia,Labé,Kankan,Mamou,Boké,Nzérékoré,Faranah,Paris,Lyon,Marseille,Nantes,Lille,Dakar,Abidjan,Bamako}'::text[] $$;
CREATE FUNCTION pg_temp.streets() RETURNS text[] IMMUTABLE LANGUAGE sql AS $$ SELECT
  '{"rue des Manguiers","avenue de la République","boulevard du Commerce","rue du Port","allée des Palmiers",
    "rue Saint-Michel","avenue des Cocotiers","place du Marché","corniche Nord","rue de la Gare","impasse du Puits",
    "rue Victor-Hugo","chemin des Écoles","route de la Plage","quai des Pêcheurs"}'::text[] $$;
CREATE FUNCTION pg_temp.sentences() RETURNS text[] IMMUTABLE LANGUAGE sql AS $$ SELECT
  '{"Le loyer du mois a bien été reçu, merci de votre ponctualité.","La chaudière fait un bruit inhabituel depuis hier soir.",
    "Un technicien passera demain entre neuf heures et midi.","Merci de nous transmettre l''attestation d''assurance à jour.",
    "Le dépôt de garantie sera restitué sous trente jours.","La fuite sous l''évier a été réparée ce matin.",
    "Nous vous proposons un échéancier en trois versements.","The tenant asked for a copy of the signed lease.",
    "Please find the revised rent schedule attached.","The lift is out of order again, second time this month.",
    "L''état des lieux est prévu vendredi à quatorze heures.","Les charges ont été régularisées pour l''année écoulée.",
    "Le voisin du troisième se plaint du bruit après minuit.","La quittance est disponible dans votre espace personnel.",
    "Le propriétaire accepte les travaux de peinture.","Le compteur d''eau a été relevé en présence du locataire.",
    "Please confirm the date of the inspection.","A key was handed to the caretaker on Monday.",
    "Le virement porte une référence erronée, nous l''avons corrigée.","Aucune suite n''a été donnée à notre relance.",
    "La caution solidaire a été signée par les deux garants.","Un devis de plomberie est joint à ce message.",
    "Le bail arrive à échéance dans trois mois.","Le préavis commence à la date de réception du courrier."}'::text[] $$;
CREATE FUNCTION pg_temp.sentence(i bigint, salt int) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT pg_temp.word(pg_temp.sentences(), i, salt) $$;
CREATE FUNCTION pg_temp.person(i bigint, salt int) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT pg_temp.word(pg_temp.first_names(), i, salt) || ' ' || pg_temp.word(pg_temp.last_names(), i, salt + 1) $$;
CREATE FUNCTION pg_temp.phone(i bigint, salt int) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT '+224 6' || to_char(pg_temp.pick(i, salt, 100000000), 'FM00000000') $$;
CREATE FUNCTION pg_temp.address(i bigint, salt int) RETURNS public.postal_address IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT ROW((1 + pg_temp.pick(i, salt, 180)) || ' ' || pg_temp.word(pg_temp.streets(), i, salt + 1),
      to_char(1000 + pg_temp.pick(i, salt + 2, 90000), 'FM00000'),
      pg_temp.word(pg_temp.cities(), i, salt + 3))::public.postal_address $$;
CREATE FUNCTION pg_temp.months(contract bigint) RETURNS int IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
  $$ SELECT 12 + pg_temp.pick(contract, 77, 25) $$;
